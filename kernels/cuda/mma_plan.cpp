#include <minidl/kernels/cuda/gather_mma.h>

#include <limits>

namespace minidl::cuda {
namespace {

constexpr int64_t kStepBytes = 64;

/// What a plan takes, in products of one row and one column of a step (16 terms of TF32), of the multiprocessor that
/// has the most blocks; a byte of memory comes in the time of kByte of them. No constant was measured.
int64_t cost(const TileSize& tile, int64_t rows, int64_t columns, int64_t steps, int64_t parts) {
  constexpr int64_t kMultiprocessors = kManyBlocks / 2, kByte = 3;
  constexpr int64_t kBegin = 6;  // steps that a block takes to begin and to end
  const int64_t blocks = divided_up(rows, tile.rows) * divided_up(columns, tile.columns) * parts;
  const int64_t step = int64_t{tile.rows} * tile.columns + kMmaRowCost * (tile.rows + tile.columns);
  const int64_t products = divided_up(blocks, kMultiprocessors) * (divided_up(steps, parts) + kBegin) * step;
  const int64_t sums = parts == 1 ? 0 : (2 * parts + 1) * 4 * divided_up(rows * columns, kMultiprocessors) * kByte;
  return products + sums;
}

}  // namespace

MmaPlan plan_mma(int64_t rows, int64_t columns, int64_t terms, int64_t element) {
  constexpr int64_t kLeastSteps = 16, kMostParts = 16;  // of a part; of a product
  const int64_t steps = divided_up(terms * element, kStepBytes);
  MmaPlan best{.tile = 0, .steps_of_part = 0};
  int64_t least = std::numeric_limits<int64_t>::max();
  for (int tile = 0; tile < static_cast<int>(std::size(kMmaTiles)); ++tile) {
    // Narrow tiles load more than they multiply: they are for results as narrow.
    if (kMmaTiles[tile].columns < 64 && columns > 32) continue;
    for (int64_t parts = 1; parts <= kMostParts; parts *= 2) {
      if (parts > 1 && steps / parts < kLeastSteps) break;
      const int64_t of_plan = cost(kMmaTiles[tile], rows, columns, steps, parts);
      if (of_plan >= least) continue;
      least = of_plan;
      const int64_t of_part = divided_up(steps, parts);
      best = {.tile = tile,
              .parts = steps == 0 ? 1 : static_cast<int>(divided_up(steps, of_part)),
              .steps_of_part = static_cast<int>(of_part)};
    }
  }
  return best;
}

MmaPlan with_added(MmaPlan plan, int64_t terms, int64_t added, int64_t element) {
  if (added == 0) return plan;
  const int64_t steps = divided_up(terms * element, kStepBytes) + divided_up(added * element, kStepBytes);
  plan.steps_of_part = static_cast<int>(divided_up(steps, plan.parts));
  return plan;
}

int moment_rows(const MmaPlan& plan, const Windows& windows) {
  const int rows = kMmaMomentRows[plan.tile];
  const bool straddles = windows.n > 1 && int64_t{windows.windows_h} * windows.windows_w % rows != 0;
  return plan.parts > 1 || straddles ? 0 : rows;
}

int64_t mma_workspace(const MmaPlan& plan, const Windows& windows, int channels) {
  return plan.parts == 1 ? 0 : int64_t{sizeof(float)} * plan.parts * windows.count() * channels;
}

}  // namespace minidl::cuda
