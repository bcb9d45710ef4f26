#pragma once
// The epilogue of matrix products on tensor cores: what a warp accumulated, to memory as GatherOutput says.
#include <minidl/kernels/cuda/gather_output.cuh>
#include <minidl/kernels/cuda/mma_tile.cuh>

namespace minidl::cuda {

struct PairOutput : GatherOutput {
  bool aligned;  // pairs of results lie at multiples of 8 bytes

  explicit PairOutput(const GatherOutput& out)
      : GatherOutput(out),
        aligned((pitch ? pitch : channels) % 2 == 0 && reinterpret_cast<uintptr_t>(output) % sizeof(float2) == 0) {}
};

/// Two neighbouring results of channels `channel` (even) and the next. All lanes of a warp call together, four
/// neighbours with eight neighbouring channels of one pixel; those without results say so.
MINIDL_DEVICE void write_pair(const PairOutput& out, bool inside, int64_t pixel, int channel, float first,
                              float second) {
  const int64_t i = pixel * (out.pitch ? out.pitch : out.channels) + channel;
  const bool both = channel + 1 < out.channels;
  if (inside) {
    first = finished(out, i, first);
    if (both) second = finished(out, i + 1, second);
    if (both && out.aligned) {
      store(reinterpret_cast<float2*>(out.output + i), make_float2(first, second));
    } else {
      store(out.output + i, first);
      if (both) store(out.output + i + 1, second);
    }
  }
  if (!out.positive) return;
  const unsigned t = threadIdx.x % 4;
  unsigned bits = ((first > 0.0f ? 1u : 0u) | (second > 0.0f ? 2u : 0u)) << 2 * t;
  bits |= __shfl_xor_sync(0xffffffffu, bits, 1);
  bits |= __shfl_xor_sync(0xffffffffu, bits, 2);
  if (t == 0 && inside) store(out.positive + i / 8, static_cast<uint8_t>(bits));
}

MINIDL_DEVICE float with_bias(const PairOutput& out, float sum, float bias) {
  sum *= out.scale;
  return out.bias ? sum + bias : sum;
}

/// The sums of the tile that begins at window0 and channel0; picture0 as in pixel_written.
template <typename Tile>
MINIDL_DEVICE void write_sums(const Windows& windows, const PairOutput& out, int count, int window0, int channel0,
                              int picture0, const MmaSums<Tile>& sums) {
  float bias[Tile::kWarpColumns / 8][2];
  MINIDL_UNROLL
  for (int j = 0; j < Tile::kWarpColumns / 8; ++j) {
    bias[j][0] = bias_of(out, channel0 + pair_column<Tile>(j));
    bias[j][1] = bias_of(out, channel0 + pair_column<Tile>(j) + 1);
  }
  for_pairs<Tile>(sums, [&](int row, int j, float first, float second) {
    const int window = window0 + row, channel = channel0 + pair_column<Tile>(j);
    write_pair(out, window < count && channel < out.channels, pixel_written(windows, out, picture0, window), channel,
               with_bias(out, first, bias[j][0]), with_bias(out, second, bias[j][1]));
  });
}

}  // namespace minidl::cuda
