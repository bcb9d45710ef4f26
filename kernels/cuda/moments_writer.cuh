#pragma once
// Moments of what a warp accumulated: each column's mean and squared deviations over the warp's rows. From the first
// row's value as the shift, all in registers, lanes of a column by halving: the order depends on the tile alone.
#include <minidl/kernels/cuda/result_moments.h>
#include <minidl/kernels/cuda/gather_output.cuh>
#include <minidl/kernels/cuda/mma_tile.cuh>

namespace minidl::cuda {

/// Of the lanes whose numbers are the same modulo 4, which have the same columns.
MINIDL_DEVICE float sum_of_column(float value) {
  value += __shfl_xor_sync(0xffffffffu, value, 4);
  value += __shfl_xor_sync(0xffffffffu, value, 8);
  return value + __shfl_xor_sync(0xffffffffu, value, 16);
}

/// Of the first `rows` rows of the warp's part; value(i) is what this lane has in row lane / 4 + 8 * i. All lanes of a
/// warp call together, and all get it.
template <typename Tile, typename Value>
MINIDL_DEVICE TileMoments column_moments(int rows, const Value& value) {
  const int lane = static_cast<int>(threadIdx.x) % 32, remaining = rows - lane / 4;
  const float count = static_cast<float>(rows), shift = __shfl_sync(0xffffffffu, value(0), lane % 4);
  float sum = 0.0f, squares = 0.0f;
  MINIDL_UNROLL
  for (int i = 0; i < Tile::kWarpRows / 8; ++i) sum += i * 8 < remaining ? value(i) - shift : 0.0f;
  const float mean = sum_of_column(sum) / count;
  MINIDL_UNROLL
  for (int i = 0; i < Tile::kWarpRows / 8; ++i) {
    const float deviation = value(i) - shift - mean;
    squares += i * 8 < remaining ? deviation * deviation : 0.0f;
  }
  return {count, shift, mean, sum_of_column(squares)};
}

/// Of the tile that begins at window0 and channel0, whose rows are of one picture; `result` as in for_pairs_in_turn.
template <typename Tile, typename Result>
MINIDL_DEVICE void write_moments(const Windows& windows, const GatherOutput& out, int count, int window0, int channel0,
                                 const Result& result) {
  const int row0 = window0 + warp_row<Tile>(), rows = min(Tile::kWarpRows, count - row0);
  if (rows <= 0) return;
  const int tiles = (windows.windows_h * windows.windows_w + Tile::kWarpRows - 1) / Tile::kWarpRows;
  const int tile = row0 / Tile::kWarpRows, picture = tile / tiles, side = static_cast<int>(threadIdx.x) % 32 / 4;
  TileMoments* const of_tile =
      out.moments + picture * out.moments_apart + static_cast<int64_t>(tile - picture * tiles) * out.channels;
  MINIDL_UNROLL
  for (int j = 0; j < Tile::kWarpColumns / 8; ++j) {
    const TileMoments first = column_moments<Tile>(rows, [&](int i) { return result(i, j, 0); });
    const TileMoments second = column_moments<Tile>(rows, [&](int i) { return result(i, j, 1); });
    const int channel = channel0 + pair_column<Tile>(j) + side;
    if (side < 2 && channel < out.channels) store(of_tile + channel, side == 0 ? first : second);
  }
}

}  // namespace minidl::cuda
