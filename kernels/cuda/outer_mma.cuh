#pragma once
// result (rows x length) = rows (windows x rows) transposed * windows (windows x length) on tensor cores. A block
// computes a tile of kOuterTiles over one part of the windows, in steps of 64 bytes of windows of one column (16 of
// fp32, 32 of 16 bits); kMmaStages tiles of both operands are under way in shared memory, laid out by window_sums.cuh.
// Grid (length / columns, rows / rows of the tile, parts). Flops 2 * rows * windows * length; traffic of a block (rows
// + columns) * windows of the part elements, rows * length floats for each part. add_outer_parts() adds them.
#include <minidl/core/cuda/backend.h>
#include <minidl/core/tensor.h>
#include <minidl/kernels/cuda/outer_mma.h>
#include <minidl/kernels/cuda/mma_types.cuh>
#include <minidl/kernels/cuda/window_sums.cuh>
#include <minidl/kernels/cuda/windows.cuh>

#include <array>

namespace minidl::cuda {
namespace {

/// A thread's chunks of a tile: one of the first window of a step, and of every kAtOnce-th one.
template <typename Layout, int kThreads>
struct WindowChunks {
  static constexpr int kAtOnce = kThreads / Layout::kLanes, kCount = Layout::kWindows / kAtOnce;
  static_assert(kCount * kAtOnce == Layout::kWindows);

  MINIDL_DEVICE static int first() { return static_cast<int>(threadIdx.x) / Layout::kLanes; }
  MINIDL_DEVICE static int chunk() { return static_cast<int>(threadIdx.x) % Layout::kLanes; }
};

template <typename Type, typename Tile>
MINIDL_KERNEL_RESIDENT(Tile::kThreads, (kMmaBlocks<Type, Tile>), outer_mma_kernel, OuterProduct product, OuterPlan plan,
                       int windows, int pitch, int length, const typename Type::Element* rows,
                       const typename Type::Element* picture, float* partials) {
  using Element = typename Type::Element;
  using Rows = WindowMajor<Element, Tile::kRows>;
  using Columns = WindowMajor<Element, Tile::kColumns>;
  MINIDL_DYNAMIC_SHARED(std::byte, shared);
  const int column0 = static_cast<int>(blockIdx.x) * Tile::kColumns, row0 = static_cast<int>(blockIdx.y) * Tile::kRows;
  if (product.symmetric && column0 >= row0 + Tile::kRows) return;  // above the diagonal
  const int begin = static_cast<int>(blockIdx.z) * plan.part;
  const int count = windows - begin < plan.part ? windows - begin : plan.part;

  using Left = WindowChunks<Rows, Tile::kThreads>;
  using Right = WindowChunks<Columns, Tile::kThreads>;
  const int row = row0 + Left::chunk() * Rows::kChunk;
  const TapPlace tap = tap_place(product.windows, column0 + Right::chunk() * Columns::kChunk);
  WindowIndex index[Right::kCount];
  MINIDL_UNROLL
  for (int i = 0; i < Right::kCount; ++i) {
    index[i] = window_index(product.windows, begin + Right::first() + i * Right::kAtOnce);
  }
  int step0 = 0;  // the first window of the step, of those of the part
  const auto fetch = [&](std::byte* stage) {
    auto* const tile = reinterpret_cast<Element*>(stage);
    MINIDL_UNROLL
    for (int i = 0; i < Left::kCount; ++i) {
      const int place = Left::first() + i * Left::kAtOnce, window = step0 + place;
      const bool read = window < count && row < pitch;
      async_copy<kChunkBytes>(tile + Rows::place(place, Left::chunk()),
                              read ? rows + (int64_t{begin} + window) * pitch + row : rows, read);
    }
    MINIDL_UNROLL
    for (int i = 0; i < Right::kCount; ++i) {
      const int place = Right::first() + i * Right::kAtOnce;
      const Element* source = nullptr;
      if (step0 + place < count) source = value_read(product.windows, picture, index[i].place(product.windows), tap);
      async_copy<kChunkBytes>(tile + Rows::kBytes / Rows::kSize + Columns::place(place, Right::chunk()),
                              source ? source : picture, source != nullptr);
      index[i].advance(product.windows, Columns::kWindows);
    }
    step0 += Rows::kWindows;
  };

  MmaSums<Tile> sums = {};
  const int steps = (count + Rows::kWindows - 1) / Rows::kWindows;
  mma_loop<Rows::kBytes + Columns::kBytes>(shared, steps, fetch, [&](const std::byte* stage) {
    multiply_windows<Type, Tile>(reinterpret_cast<const Element*>(stage),
                                 reinterpret_cast<const Element*>(stage + Rows::kBytes), sums);
  });
  float* const partial = partials + int64_t{blockIdx.z} * product.rows * length;
  for_pairs<Tile>(sums, [&](int down, int j, float first, float second) {
    const int r = row0 + down, c = column0 + pair_column<Tile>(j);
    if (r >= product.rows || c >= length) return;
    store(reinterpret_cast<float2*>(partial + static_cast<int64_t>(r) * length + c), make_float2(first, second));
  });
}

template <typename Type, typename Tile>
void launch_outer_tile(const OuterProduct& product, const OuterPlan& plan, const void* rows, const void* picture,
                       float* partials, cudaStream_t stream) {
  using Element = typename Type::Element;
  constexpr int kChunk = WindowMajor<Element, Tile::kRows>::kChunk;
  constexpr int kShared =
      kMmaStages * (WindowMajor<Element, Tile::kRows>::kBytes + WindowMajor<Element, Tile::kColumns>::kBytes);
  const dim3 grid(blocks_for(product.windows.length(), Tile::kColumns), blocks_for(product.rows, Tile::kRows),
                  static_cast<unsigned>(plan.parts));
  MINIDL_LAUNCH((outer_mma_kernel<Type, Tile>), grid, Tile::kThreads, kShared, stream, product, plan,
                static_cast<int>(product.windows.count()), (product.rows + kChunk - 1) / kChunk * kChunk,
                static_cast<int>(product.windows.length()), static_cast<const Element*>(rows),
                static_cast<const Element*>(picture), partials);
}

/// Of kOuterTiles, with the part of a warp.
template <typename Type>
constexpr std::array kLaunchOuterTile = {
    launch_outer_tile<Type, MmaTile<32, 128, 32, 32>>, launch_outer_tile<Type, MmaTile<64, 64, 32, 32>>,
    launch_outer_tile<Type, MmaTile<128, 64, 32, 32>>, launch_outer_tile<Type, MmaTile<128, 128, 64, 32>>};

template <typename Type>
void outer_mma(const OuterPlan& plan, const OuterProduct& product, const void* rows, const void* picture, int in_c,
               float* output, cudaStream_t stream) {
  static_assert(kLaunchOuterTile<Type>.size() == std::size(kOuterTiles));
  if (product.rows == 0 || product.windows.length() == 0) return;
  Tensor partials = Tensor::empty({plan.parts, product.rows, product.windows.length()}, Dtype::f32, current_device());
  if (plan.parts > 0) {
    kLaunchOuterTile<Type>[plan.tile](product, plan, rows, picture, partials.data<float>(), stream);
  }
  add_outer_parts(product, plan.parts, in_c, partials.data<float>(), output, stream);
}

}  // namespace
}  // namespace minidl::cuda
