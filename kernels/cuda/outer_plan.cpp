#include <minidl/kernels/cuda/outer_mma.h>

#include <algorithm>

namespace minidl::cuda {
namespace {

int64_t divided_up(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

}  // namespace

OuterPlan plan_outer_mma(const OuterProduct& product) {
  constexpr int64_t kManyBlocks = 264;                      // two for each multiprocessor of a large GPU
  constexpr int64_t kLeastPart = 256, kMostWindows = 2048;  // of a part; longer sums lose digits
  constexpr int64_t kRow = 64;                              // as in mma_plan.cpp: what a copied row costs in products
  const int64_t windows = product.windows.count(), length = product.windows.length();
  int best = 0;
  int64_t least = 0, tiles = 1;
  for (int tile = 0; tile < static_cast<int>(std::size(kOuterTiles)); ++tile) {
    const auto [rows, columns] = kOuterTiles[tile];
    const int64_t blocks = divided_up(product.rows, rows) * divided_up(length, columns);
    const int64_t cost = blocks * (int64_t{rows} * columns + kRow * (rows + columns));
    if (tile > 0 && cost >= least) continue;
    best = tile, least = cost, tiles = blocks;
  }
  const int64_t for_blocks = std::min(kManyBlocks / std::max<int64_t>(1, tiles), windows / kLeastPart);
  const int64_t wanted = std::max<int64_t>({1, for_blocks, divided_up(windows, kMostWindows)});
  const int64_t part = std::max<int64_t>(1, divided_up(windows, wanted));
  return {.tile = best, .part = static_cast<int>(part), .parts = static_cast<int>(divided_up(windows, part))};
}

int64_t outer_mma_workspace(const OuterPlan& plan, const OuterProduct& product) {
  return int64_t{sizeof(float)} * plan.parts * product.rows * product.windows.length();
}

}  // namespace minidl::cuda
