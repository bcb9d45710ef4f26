#pragma once
// The epilogue of matrix products on tensor cores: what a warp accumulated, to memory as GatherOutput says.
#include <minidl/kernels/cuda/gather_output.cuh>
#include <minidl/kernels/cuda/mma_tile.cuh>
#include <minidl/kernels/cuda/moments_writer.cuh>

#include <type_traits>

namespace minidl::cuda {

struct PairOutput : GatherOutput {
  bool aligned;  // pairs of what is written lie at multiples of 8 bytes

  explicit PairOutput(const GatherOutput& out)
      : GatherOutput(out),
        aligned((pitch ? pitch : channels) % 2 == 0 && reinterpret_cast<uintptr_t>(output) % sizeof(float2) == 0) {}
};

/// Bits of two neighbouring elements of the output, from i on. All lanes of a warp call together.
MINIDL_DEVICE void write_positive(const PairOutput& out, bool inside, int64_t i, float first, float second) {
  const unsigned t = threadIdx.x % 4;
  unsigned bits = ((first > 0.0f ? 1u : 0u) | (second > 0.0f ? 2u : 0u)) << 2 * t;
  bits |= __shfl_xor_sync(0xffffffffu, bits, 1);
  bits |= __shfl_xor_sync(0xffffffffu, bits, 2);
  if (t == 0 && inside) store(out.positive + i / 8, static_cast<uint8_t>(bits));
}

/// The cell of which this lane and those 4, 8 and 12 further have the values, in the order in which pool2d() goes.
MINIDL_DEVICE float pool_cell(const PairOutput& out, float value, int& choice) {
  float result = value;
  choice = 0;
  MINIDL_UNROLL
  for (int k = 1; k < 4; ++k) {
    const float other = __shfl_down_sync(0xffffffffu, value, 4 * k);
    if (!out.max_pooled) {
      result += other;
    } else if (other > result || other != other) {
      result = other;
      choice = k;
    }
  }
  if (!out.max_pooled) return result / 4.0f;
  if (!(result > 0.0f)) choice = 4;
  return result;
}

/// Two neighbouring elements of an operand whose numbers are rounded by Format, or of fp32.
template <typename Format>
MINIDL_DEVICE void store_operands(void* operand, int64_t i, float first, float second) {
  if constexpr (std::is_void_v<Format>) {
    store(reinterpret_cast<float2*>(static_cast<float*>(operand) + i), make_float2(first, second));
  } else {
    store(reinterpret_cast<ushort2*>(static_cast<uint16_t*>(operand) + i),
          ushort2{Format::bits(first), Format::bits(second)});
  }
}

/// Elements i and, unless it is of the next pixel, i + 1 of the output. Format: what rounds to `rounded`, or void.
template <typename Format>
MINIDL_DEVICE void store_pair(const PairOutput& out, bool both, int64_t i, float first, float second) {
  if (both && out.aligned) {
    store(reinterpret_cast<float2*>(out.output + i), make_float2(first, second));
  } else {
    store(out.output + i, first);
    if (both) store(out.output + i + 1, second);
  }
  if constexpr (!std::is_void_v<Format>) {
    if (out.rounded) store_operands<Format>(out.rounded, i, first, second);
  }
}

/// Elements i and i + 1 of the output, those of window `at`, to the pixels that were pooled to it; a last row or column
/// that was not, zeros.
template <typename Format>
MINIDL_DEVICE void write_unpooled(const PairOutput& out, const WindowIndex& at, int64_t i, int channel, float first,
                                  float second) {
  const Unpooled& to = out.unpooled;
  int choice[2] = {};
  if (to.choice) {
    choice[0] = load(to.choice + i), choice[1] = load(to.choice + i + 1);
  } else {
    first /= 4.0f;
    second /= 4.0f;
  }
  const int rows = at.h + 1 == out.out_h ? to.h - 2 * at.h : 2, columns = at.w + 1 == out.out_w ? to.w - 2 * at.w : 2;
  for (int r = 0; r < rows; ++r) {
    for (int s = 0; s < columns; ++s) {
      const int64_t pixel = (static_cast<int64_t>(at.n) * to.h + 2 * at.h + r) * to.w + 2 * at.w + s;
      const int64_t element = pixel * out.channels + channel;
      const bool pooled = r < 2 && s < 2;
      bool goes[2] = {pooled, pooled};
      if (pooled) {
        for (int k = 0; k < 2; ++k) goes[k] = to.choice ? choice[k] == 2 * r + s : is_set(to.positive, element + k);
      }
      store_operands<Format>(to.operand, element, goes[0] ? first : 0.0f, goes[1] ? second : 0.0f);
    }
  }
}

/// Two neighbouring results of channels `channel` (even) and the next. All lanes of a warp call together, four
/// neighbours with eight neighbouring channels of one window; those without results say so. picture0 as in
/// pixel_written.
template <typename Format>
MINIDL_DEVICE void write_pair(const PairOutput& out, bool inside, int picture0, const WindowIndex& at, int channel,
                              float first, float second) {
  const int64_t i = pixel_written(out, picture0, at) * (out.pitch ? out.pitch : out.channels) + channel;
  const bool both = channel + 1 < out.channels;
  if (inside) {
    first = finished(out, i, first);
    if (both) second = finished(out, i + 1, second);
    store_pair<Format>(out, both, i, first, second);
    if (out.unpooled.operand) write_unpooled<Format>(out, at, i, channel, first, second);
  }
  if (out.positive) write_positive(out, inside, i, first, second);
}

/// The same of windows in cells, before the ReLU: lanes l, l + 4, l + 8, l + 12 have those of a cell where l / 4 is a
/// multiple of 4, and lane l writes. `pixel`: before the pool.
template <typename Format>
MINIDL_DEVICE void write_cell(const PairOutput& out, bool inside, int64_t pixel, int64_t cell, int channel, float first,
                              float second) {
  first = relu(first), second = relu(second);
  if (out.positive) write_positive(out, inside, pixel * out.channels + channel, first, second);
  int choice[2];
  first = pool_cell(out, first, choice[0]), second = pool_cell(out, second, choice[1]);
  if (!inside || threadIdx.x / 4 % 4 != 0) return;
  const int64_t i = cell * out.channels + channel;
  store_pair<Format>(out, true, i, first, second);
  if (!out.choice) return;
  store(out.choice + i, static_cast<uint8_t>(choice[0]));
  store(out.choice + i + 1, static_cast<uint8_t>(choice[1]));
}

MINIDL_DEVICE float with_bias(const PairOutput& out, float sum, float bias) {
  return sum * out.scale + bias;
}

/// The sums of the tile that begins at window0 and channel0; picture0 as in pixel_written, `shared` as in
/// for_pairs_in_turn.
template <typename Format, typename Tile, bool kPools>
MINIDL_DEVICE void write_sums(std::byte* shared, const Windows& windows, const PairOutput& out, int count, int window0,
                              int channel0, int picture0, const MmaSums<Tile>& sums) {
  constexpr int kPairs = Tile::kWarpColumns / 8;  // of a row
  float bias[kPairs][2];
  MINIDL_UNROLL
  for (int j = 0; j < kPairs; ++j) {
    bias[j][0] = bias_of(out, channel0 + pair_column<Tile>(j));
    bias[j][1] = bias_of(out, channel0 + pair_column<Tile>(j) + 1);
  }
  const auto result = [&](int i, int j, int side) {
    return with_bias(out, pair_sum<Tile>(sums, i, j, side), bias[j][side]);
  };
  if constexpr (!kPools) {
    if (out.moments) write_moments<Tile>(windows, out, count, window0, channel0, result);
  }
  for_pairs_in_turn<Tile>(shared, result, [&](int row, int column, float first, float second) {
    const int window = window0 + row, channel = channel0 + column;
    const bool inside = window < count && channel < out.channels;
    if constexpr (kPools) {
      write_cell<Format>(out, inside, pixel_written(out, 0, window_in_cells(windows, window)), window / 4, channel,
                         first, second);
    } else {
      write_pair<Format>(out, inside, picture0, window_in_rows(windows, window), channel, first, second);
    }
  });
}

}  // namespace minidl::cuda
