#include <minidl/kernels/cpu/simd.h>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "minidl/kernels/cpu/gram_kernel.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include <hwy/highway.h>
#include <minidl/core/tensor.h>
#include <minidl/kernels/cpu/gram_kernel.h>

#include <algorithm>

HWY_BEFORE_NAMESPACE();
namespace minidl::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
constexpr int64_t kLanes = hn::MaxLanes(D());
// A tile of the result stays in registers: 32 of them with AVX-512 and NEON, 16 elsewhere.
constexpr bool kManyRegisters = HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL || HWY_ARCH_ARM_A64;
constexpr int64_t kRows = kManyRegisters ? 8 : 4;
constexpr int64_t kVectors = 3;
constexpr int64_t kPositions = 64;  // at a time, so that all tiles find them in the nearest caches
constexpr int64_t kSlack = 16;      // keeps positions of 2 KiB from falling on the same lines of the first cache

/// Features of `count` positions, copied [kPositions, stride], and where those to come begin.
struct Positions {
  const float* values;
  int64_t count, stride;
  const float* next;
  int64_t next_stride;
};

/// Adds the products of the positions to the tile of kRows x kWide vectors at (i, j) of sums [.., stride].
template <int kWide>
HWY_NOINLINE HWY_ATTR void add_tile(const Positions& positions, int64_t i, int64_t j, float* sums, int64_t stride) {
  const D d;
  float* target = sums + i * stride + j;
  hn::Vec<D> tile[kRows][kWide];
  HWY_UNROLL(8)
  for (int64_t r = 0; r < kRows; ++r) {
    HWY_UNROLL(3)
    for (int64_t v = 0; v < kWide; ++v) tile[r][v] = hn::LoadU(d, target + r * stride + v * kLanes);
  }
  const float *left = positions.values + i, *right = positions.values + j;
  for (int64_t p = 0; p < positions.count; ++p) {
    hn::Vec<D> row[kWide];
    HWY_UNROLL(3)
    for (int64_t v = 0; v < kWide; ++v) row[v] = hn::LoadU(d, right + v * kLanes);
    HWY_UNROLL(8)
    for (int64_t r = 0; r < kRows; ++r) {
      const auto factor = hn::Set(d, left[r]);
      HWY_UNROLL(3)
      for (int64_t v = 0; v < kWide; ++v) tile[r][v] = hn::MulAdd(factor, row[v], tile[r][v]);
    }
    left += positions.stride;
    right += positions.stride;
  }
  HWY_UNROLL(8)
  for (int64_t r = 0; r < kRows; ++r) {
    HWY_UNROLL(3)
    for (int64_t v = 0; v < kWide; ++v) hn::StoreU(tile[r][v], d, target + r * stride + v * kLanes);
  }
}

/// Fetches `columns` features of part `i` of `parts` of the positions to come into the second cache.
HWY_INLINE void fetch_part(const Positions& positions, int64_t columns, int64_t i, int64_t parts) {
  constexpr int64_t kLine = 16;
  const int64_t begin = i * positions.count / parts, end = (i + 1) * positions.count / parts;
  for (int64_t p = begin; p < end; ++p) {
    for (int64_t j = 0; j < columns; j += kLine)
      __builtin_prefetch(positions.next + p * positions.next_stride + j, 0, 2);
  }
}

/// All tiles of rows [row_begin, row_end) up to the diagonal. One panel of columns stays in the nearest cache while the
/// rows pass by.
HWY_ATTR void add_tiles(const Positions& positions, int64_t row_begin, int64_t row_end, float* sums, int64_t stride) {
  constexpr int64_t kWidth = kVectors * kLanes;
  const auto first_row = [&](int64_t j) { return std::max(row_begin, j / kRows * kRows); };
  int64_t tiles = 0, tile = 0;
  for (int64_t j = 0; j < row_end; j += kWidth) tiles += (row_end - first_row(j)) / kRows;
  for (int64_t j = 0; j < row_end; j += kWidth) {
    for (int64_t i = first_row(j); i < row_end; i += kRows) {
      const int64_t vectors = (i + kRows - j + kLanes - 1) / kLanes;  // as far as the diagonal
      const auto add = vectors >= 3 ? add_tile<3> : vectors == 2 ? add_tile<2> : add_tile<1>;
      fetch_part(positions, row_end, tile++, tiles);
      add(positions, i, j, sums, stride);
    }
  }
}

void gram_products(const float* features, int64_t positions, int64_t c, int64_t row_begin, int64_t row_end,
                   float* sums) {
  const int64_t stride = gram_stride(c), columns = std::min(c, row_end);
  std::fill(sums + row_begin * stride, sums + row_end * stride, 0.0f);
  Tensor copies = Tensor::zeros({kPositions, row_end + kSlack});
  Positions copy{copies.data<float>(), 0, row_end + kSlack, nullptr, c};
  for (int64_t first = 0; first < positions; first += kPositions) {
    copy.count = std::min(kPositions, positions - first);
    const float* rows = features + first * c;
    copy.next = first + kPositions < positions ? rows + kPositions * c : rows;
    float* to = copies.data<float>();
    for (int64_t p = 0; p < copy.count; ++p) std::copy_n(rows + p * c, columns, to + p * copy.stride);
    add_tiles(copy, row_begin, row_end, sums, stride);
  }
}

}  // namespace minidl::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace minidl::cpu {

HWY_EXPORT(gram_products);
void gram_products(const float* features, int64_t positions, int64_t c, int64_t row_begin, int64_t row_end,
                   float* sums) {
  MINIDL_DISPATCH(gram_products)(features, positions, c, row_begin, row_end, sums);
}

}  // namespace minidl::cpu
#endif  // HWY_ONCE
