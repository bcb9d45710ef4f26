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
  /// Elements from the tile's begin to the i-th of them.
  MINIDL_DEVICE static int place(int i) { return Layout::place(first() + i * kAtOnce, chunk()); }
};

/// The operand that has a row of `pitch` elements for each window.
template <typename Element, typename Layout, int kThreads>
struct MatrixWindows {
  using Chunks = WindowChunks<Layout, kThreads>;

  const Element* source;  // of the first chunk
  int64_t apart;          // from chunk to chunk
  int remaining;          // windows of the part from there on; none beyond the last column

  /// `count` windows from `begin` on, columns from column0 on.
  MINIDL_DEVICE MatrixWindows(const Windows&, const Element* matrix, int pitch, int begin, int count, int column0) {
    const int column = column0 + Chunks::chunk() * Layout::kChunk;
    source = matrix + (int64_t{begin} + Chunks::first()) * pitch + column;
    apart = int64_t{Chunks::kAtOnce} * pitch;
    remaining = column < pitch ? count - Chunks::first() : 0;
  }
  /// Starts the copies, and goes to the next step.
  MINIDL_DEVICE void fetch(const Windows&, Element* tile) {
    MINIDL_UNROLL
    for (int i = 0; i < Chunks::kCount; ++i) {
      async_copy<kChunkBytes>(tile + Chunks::place(i), source + i * apart, i * Chunks::kAtOnce < remaining);
    }
    source += Chunks::kCount * apart;
    remaining -= Layout::kWindows;
  }
};

/// The operand that is gathered from a picture: `length` terms of each window.
template <typename Element, typename Layout, int kThreads>
struct PictureWindows {
  using Chunks = WindowChunks<Layout, kThreads>;

  const Element* picture;
  TapPlace tap;
  WindowIndex index[Chunks::kCount];
  int remaining;

  MINIDL_DEVICE PictureWindows(const Windows& windows, const Element* of, int length, int begin, int count, int column0)
      : picture(of) {
    const int column = column0 + Chunks::chunk() * Layout::kChunk;
    tap = tap_place(windows, column);
    remaining = column < length ? count - Chunks::first() : 0;
    MINIDL_UNROLL
    for (int i = 0; i < Chunks::kCount; ++i) {
      index[i] = window_index(windows, begin + Chunks::first() + i * Chunks::kAtOnce);
    }
  }
  MINIDL_DEVICE void fetch(const Windows& windows, Element* tile) {
    MINIDL_UNROLL
    for (int i = 0; i < Chunks::kCount; ++i) {
      const WindowPlace place = index[i].place(windows);
      const PixelRead pixel = pixel_read(windows, place.row + tap.r, place.column + tap.s);
      async_copy<kChunkBytes>(tile + Chunks::place(i),
                              picture + int64_t{place.pixels + pixel.index} * windows.in_c + tap.c,
                              pixel.inside && i * Chunks::kAtOnce < remaining);
      index[i].advance(windows, Layout::kWindows);
    }
    remaining -= Layout::kWindows;
  }
};

/// Of a block, for all stages.
template <typename Type, typename Tile>
constexpr int kOuterShared = kMmaStages*(WindowMajor<typename Type::Element, Tile::kRows>::kBytes +
                                         WindowMajor<typename Type::Element, Tile::kColumns>::kBytes);

template <typename Type, typename Tile, template <typename, typename, int> typename Loader>
MINIDL_KERNEL_RESIDENT(Tile::kThreads, (kMmaBlocks<Type, Tile, kOuterShared<Type, Tile>>), outer_mma_kernel,
                       OuterProduct product, OuterPlan plan, int windows, int pitch, int length,
                       const typename Type::Element* rows, const typename Type::Element* picture, float* partials) {
  using Element = typename Type::Element;
  using Rows = WindowMajor<Element, Tile::kRows>;
  using Columns = WindowMajor<Element, Tile::kColumns>;
  MINIDL_DYNAMIC_SHARED(std::byte, shared);
  const int column0 = static_cast<int>(blockIdx.x) * Tile::kColumns, row0 = static_cast<int>(blockIdx.y) * Tile::kRows;
  if (product.symmetric && column0 >= row0 + Tile::kRows) return;  // above the diagonal
  const int begin = static_cast<int>(blockIdx.z) * plan.part;
  const int count = min(windows - begin, plan.part);

  MatrixWindows<Element, Rows, Tile::kThreads> left(product.windows, rows, pitch, begin, count, row0);
  Loader<Element, Columns, Tile::kThreads> right(product.windows, picture, length, begin, count, column0);
  const auto fetch = [&](std::byte* stage) {
    left.fetch(product.windows, reinterpret_cast<Element*>(stage));
    right.fetch(product.windows, reinterpret_cast<Element*>(stage + Rows::kBytes));
  };

  MmaSums<Tile> sums = {};
  const int steps = (count + Rows::kWindows - 1) / Rows::kWindows;
  mma_loop<Rows::kBytes + Columns::kBytes>(shared, steps, fetch, [&](const std::byte* stage) {
    multiply_windows<Type, Tile>(reinterpret_cast<const Element*>(stage),
                                 reinterpret_cast<const Element*>(stage + Rows::kBytes), sums);
  });
  float* const partial = partials + int64_t{blockIdx.z} * product.rows * length;
  for_pairs<Tile>(sums, [&](int row, int column, float first, float second) {
    const int r = row0 + row, c = column0 + column;
    if (r >= product.rows || c >= length) return;
    store(reinterpret_cast<float2*>(partial + static_cast<int64_t>(r) * length + c), make_float2(first, second));
  });
}

template <typename Type, typename Tile, template <typename, typename, int> typename Loader>
void launch_outer_loader(const OuterProduct& product, const OuterPlan& plan, const void* rows, const void* picture,
                         float* partials, cudaStream_t stream) {
  using Element = typename Type::Element;
  constexpr int kChunk = WindowMajor<Element, Tile::kRows>::kChunk;
  const dim3 grid(blocks_for(product.windows.length(), Tile::kColumns), blocks_for(product.rows, Tile::kRows),
                  static_cast<unsigned>(plan.parts));
  MINIDL_LAUNCH((outer_mma_kernel<Type, Tile, Loader>), grid, Tile::kThreads, (kOuterShared<Type, Tile>), stream,
                product, plan, static_cast<int>(product.windows.count()), (product.rows + kChunk - 1) / kChunk * kChunk,
                static_cast<int>(product.windows.length()), static_cast<const Element*>(rows),
                static_cast<const Element*>(picture), partials);
}

template <typename Type, typename Tile>
void launch_outer_tile(const OuterProduct& product, const OuterPlan& plan, const void* rows, const void* picture,
                       float* partials, cudaStream_t stream) {
  (product.windows.are_pixels()
       ? launch_outer_loader<Type, Tile, MatrixWindows>
       : launch_outer_loader<Type, Tile, PictureWindows>)(product, plan, rows, picture, partials, stream);
}

/// Of kOuterTiles, with the part of a warp.
template <typename Type>
constexpr std::array kLaunchOuterTile = {
    launch_outer_tile<Type, MmaTile<32, 128, 32, 32>>, launch_outer_tile<Type, MmaTile<64, 64, 32, 32>>,
    launch_outer_tile<Type, MmaTile<128, 64, 32, 32>>, launch_outer_tile<Type, MmaTile<128, 128, 64, 32>>};

template <typename Type>
Tensor outer_mma_parts(const OuterPlan& plan, const OuterProduct& product, const void* rows, const void* picture,
                       cudaStream_t stream) {
  static_assert(kLaunchOuterTile<Type>.size() == std::size(kOuterTiles));
  Tensor partials = Tensor::empty({plan.parts, product.rows, product.windows.length()}, Dtype::f32, current_device());
  if (partials.count() > 0) {
    kLaunchOuterTile<Type>[plan.tile](product, plan, rows, picture, partials.data<float>(), stream);
  }
  return partials;
}

template <typename Type>
void outer_mma(const OuterPlan& plan, const OuterProduct& product, const void* rows, const void* picture, int in_c,
               float* output, cudaStream_t stream) {
  add_outer_parts(product, in_c, outer_mma_parts<Type>(plan, product, rows, picture, stream), output, stream);
}

}  // namespace
}  // namespace minidl::cuda
