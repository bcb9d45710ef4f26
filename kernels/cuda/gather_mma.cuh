#pragma once
// Implicit GEMM on tensor cores: result (windows x channels) = windows (windows x length) * weight (channels x length)
// transposed. A block computes a tile of kMmaTiles in steps of 64 bytes of terms, over all terms or one part of them;
// kMmaStages tiles of both operands are under way in shared memory (mma_tile.cuh), copied by window_tiles.cuh, and sums
// go to memory through result_writer.cuh. Steps of added rows follow those of the windows. Grid (windows / rows,
// channels / columns, parts). Flops 2 * windows * channels * length; traffic of a block (rows + columns) * length
// elements, the output once. Parts are written in fp32, and add_parts() adds them.
#include <minidl/core/cuda/backend.h>
#include <minidl/core/tensor.h>
#include <minidl/kernels/cuda/gather_mma.h>
#include <minidl/kernels/cuda/map.cuh>
#include <minidl/kernels/cuda/mma_types.cuh>
#include <minidl/kernels/cuda/result_writer.cuh>
#include <minidl/kernels/cuda/window_tiles.cuh>

#include <algorithm>
#include <array>
#include <cstdint>
#include <type_traits>

namespace minidl::cuda {
namespace {

template <typename Element>
MINIDL_DEVICE int steps_of(int terms) {
  return (terms + TermWalk<Element>::kStep - 1) / TermWalk<Element>::kStep;
}

template <typename Type, typename Tile, template <typename, int, int> typename Loader, bool kPools>
MINIDL_KERNEL_RESIDENT(Tile::kThreads, (kMmaBlocks<Type, Tile>), gather_mma_kernel, Windows windows, int count,
                       int length, int steps_of_part, const typename Type::Element* picture,
                       const typename Type::Element* weight, PairOutput out) {
  using Element = typename Type::Element;
  MINIDL_DYNAMIC_SHARED(std::byte, shared);
  const int window0 = static_cast<int>(blockIdx.x) * Tile::kRows, part = static_cast<int>(blockIdx.z);
  const int channel0 = static_cast<int>(blockIdx.y) * Tile::kColumns, first = part * steps_of_part;
  using Rows = Loader<Element, Tile::kRows, Tile::kThreads>;
  using Columns = Filters<Element, Tile::kColumns, Tile::kThreads>;
  constexpr bool kAdds = Rows::kReadsRows;
  constexpr int kStep = TermWalk<Element>::kStep;
  const int of_windows = steps_of<Element>(length), all = of_windows + steps_of<Element>(out.added.terms);
  const int steps = min(all - first, steps_of_part);

  TermWalk<Element> terms(windows, first);
  Rows rows(windows, picture, count, window0);
  Columns filters(weight, length, out.channels, channel0, terms.term);
  const auto fetch = [&](std::byte* stage) {
    const int added = terms.term - of_windows * kStep;  // number of the term among the added ones, from 0
    const bool adds = kAdds && added >= 0;
    if constexpr (kAdds) {
      if (adds && !terms.in_row()) {
        terms.begin_row(of_windows * kStep);
        rows.begin_rows(static_cast<const Element*>(out.added.rows), out.added.terms, window0);
        filters.begin_rows(static_cast<const Element*>(out.added.matrix), out.added.terms, channel0, added);
      }
    }
    const bool any = adds ? added < out.added.terms : terms.term < length;
    rows.fetch(windows, terms, any, stage);
    filters.fetch(adds ? out.added.terms : length, any, stage + Tile::kRows * kRowBytes);
    if (adds) {
      terms.advance_in_row();
    } else {
      terms.advance(windows);
    }
  };
  MmaSums<Tile> sums = {};
  mma_loop<Tile::kStageBytes>(shared, steps, fetch,
                              [&](const std::byte* stage) { multiply_stage<Type, Tile>(stage, sums); });
  write_sums<typename Type::Format, Tile, kPools>(shared, windows, out, count, window0, channel0, part * windows.n,
                                                  sums);
}

/// Nothing that is in fp16 is added: who needs it has numbers that are too small for that.
template <typename Type>
constexpr bool kAddsRows = !std::is_same_v<typename Type::Format, Half>;

template <typename Type, typename Tile, template <typename, int, int> typename Loader, bool kPools = false>
void launch_loader(const Windows& windows, const MmaPlan& plan, const void* picture, const void* weight,
                   const GatherOutput& output, cudaStream_t stream) {
  const dim3 grid(blocks_for(windows.count(), Tile::kRows), blocks_for(output.channels, Tile::kColumns),
                  static_cast<unsigned>(plan.parts));
  using Element = typename Type::Element;
  MINIDL_LAUNCH((gather_mma_kernel<Type, Tile, Loader, kPools>), grid, Tile::kThreads, Tile::kShared, stream, windows,
                static_cast<int>(windows.count()), static_cast<int>(windows.length()), plan.steps_of_part,
                static_cast<const Element*>(picture), static_cast<const Element*>(weight), PairOutput(output));
}

template <typename Type, typename Tile>
void launch_tile(const Windows& windows, const MmaPlan& plan, const void* picture, const void* weight,
                 const GatherOutput& output, cudaStream_t stream) {
  if constexpr (kAddsRows<Type>) {
    if (output.added.terms > 0) {
      return launch_loader<Type, Tile, WindowsAndRows>(windows, plan, picture, weight, output, stream);
    }
  }
  const auto launch = windows.mode != Padding::Mode::zero ? launch_loader<Type, Tile, ContinuedWindows>
                      : output.pools                      ? launch_loader<Type, Tile, ZeroPaddedWindows, true>
                                                          : launch_loader<Type, Tile, ZeroPaddedWindows>;
  launch(windows, plan, picture, weight, output, stream);
}

/// The two largest of kMmaTiles. A warp with 64 x 64 results rounds, loads and addresses least for each product;
/// operands of two parts leave no registers for that, and then the largest tile is one of half as many columns.
template <typename Type>
using LargeTile = std::conditional_t<Type::kParts == 2, MmaTile<128, 128, 64, 32>, MmaTile<128, 128, 64, 64>>;
template <typename Type>
using LargestTile = std::conditional_t<Type::kParts == 2, LargeTile<Type>, MmaTile<128, 256, 64, 64>>;
/// For few channels; of two parts the next wider one, whose threads have fewer copies to keep the places of.
template <typename Type>
using NarrowTile = std::conditional_t<Type::kParts == 2, MmaTile<256, 64, 64, 32>, MmaTile<256, 32, 64, 32>>;

template <typename Type, int kIndex, typename Tile>
constexpr auto launch_of_tile() {
  static_assert(kMmaMomentRows[kIndex] == Tile::kWarpRows);
  return launch_tile<Type, Tile>;
}

/// Of kMmaTiles, with the part of a warp.
template <typename Type>
constexpr std::array kLaunchTile = {
    launch_of_tile<Type, 0, MmaTile<64, 64, 32, 32>>(), launch_of_tile<Type, 1, MmaTile<128, 64, 64, 32>>(),
    launch_of_tile<Type, 2, LargeTile<Type>>(),         launch_of_tile<Type, 3, MmaTile<256, 64, 64, 32>>(),
    launch_of_tile<Type, 4, LargestTile<Type>>(),       launch_of_tile<Type, 5, MmaTile<128, 8, 32, 8>>(),
    launch_of_tile<Type, 6, NarrowTile<Type>>()};

template <typename Type>
void gather_mma(const MmaPlan& plan, const Windows& windows, const void* picture, const void* weight,
                const GatherOutput& output, cudaStream_t stream) {
  static_assert(kLaunchTile<Type>.size() == std::size(kMmaTiles));
  if (windows.count() == 0) return;
  const int64_t pixels = int64_t{windows.n} * windows.in_h * windows.in_w;
  const int64_t elements = std::max(pixels * windows.in_c, windows.count() * output.added.terms);
  MINIDL_CHECK(elements / TermWalk<typename Type::Element>::kChunk <= INT32_MAX,
               "[cuda] products on tensor cores read at most 32 GiB of a tensor, not {} elements of {} bytes", elements,
               sizeof(typename Type::Element));
  MINIDL_CHECK(!output.pools || (plan.parts == 1 && windows.mode == Padding::Mode::zero),
               "[cuda] results are pooled of products in one part and of pictures between zeros");
  MINIDL_CHECK(
      output.added.terms == 0 || (!output.pools && windows.mode == Padding::Mode::zero && kAddsRows<Type>),
      "[cuda] rows, of any format but fp16, are added to results that are not pooled, of pictures between zeros");
  MINIDL_CHECK(
      !output.rounded || (sizeof(typename Type::Element) == 2 && output.channels % 8 == 0 && !output.pitch),
      "[cuda] a rounded copy is of outputs with a multiple of 8 channels, of products with operands of 16 bits");
  MINIDL_CHECK(!output.unpooled.operand || (output.channels % 8 == 0 && !output.pitch && !output.pools),
               "[cuda] gradients of a pool have a multiple of 8 channels");
  MINIDL_CHECK(!output.moments || (plan.parts == 1 && !output.pools && !output.relu && output.beta == 0.0f),
               "[cuda] moments are left of products in one part, whose results are written as they are");
  if (plan.parts == 1) return kLaunchTile<Type>[plan.tile](windows, plan, picture, weight, output, stream);
  Tensor partials = Tensor::empty({plan.parts, windows.count(), output.channels}, Dtype::f32, current_device());
  const GatherOutput part{.output = partials.data<float>(),
                          .channels = output.channels,
                          .out_h = windows.windows_h,
                          .out_w = windows.windows_w,
                          .added = output.added};
  kLaunchTile<Type>[plan.tile](windows, plan, picture, weight, part, stream);
  add_parts<typename Type::Format>(windows, plan.parts, partials.data<float>(), output, stream);
}

}  // namespace
}  // namespace minidl::cuda
