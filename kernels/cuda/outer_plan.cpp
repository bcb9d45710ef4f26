#include <minidl/kernels/cuda/outer_mma.h>

#include <algorithm>

namespace minidl::cuda {

int64_t windows_of_part(int64_t windows, int64_t tiles) {
  constexpr int64_t kLeast = 256, kMost = 2048;  // longer sums lose digits
  constexpr int64_t kMostParts = 65535;          // the third dimension of a grid
  const int64_t for_blocks = std::min(kManyBlocks / std::max<int64_t>(1, tiles), windows / kLeast);
  const int64_t parts = std::clamp<int64_t>(std::max(for_blocks, divided_up(windows, kMost)), 1, kMostParts);
  return std::max<int64_t>(1, divided_up(windows, parts));
}

OuterPlan plan_outer_mma(const OuterProduct& product) {
  const int64_t windows = product.windows.count(), length = product.windows.length();
  int best = 0;
  int64_t least = 0, tiles = 1;
  for (int tile = 0; tile < static_cast<int>(std::size(kOuterTiles)); ++tile) {
    const auto [rows, columns] = kOuterTiles[tile];
    const int64_t blocks = divided_up(product.rows, rows) * divided_up(length, columns);
    const int64_t cost = blocks * (int64_t{rows} * columns + kMmaRowCost * (rows + columns));
    if (tile > 0 && cost >= least) continue;
    best = tile, least = cost, tiles = blocks;
  }
  const int64_t part = windows_of_part(windows, tiles);
  return {.tile = best, .part = static_cast<int>(part), .parts = static_cast<int>(divided_up(windows, part))};
}

int64_t outer_mma_workspace(const OuterPlan& plan, const OuterProduct& product) {
  return int64_t{sizeof(float)} * plan.parts * product.rows * product.windows.length();
}

}  // namespace minidl::cuda
