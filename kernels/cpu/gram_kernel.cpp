#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "minidl/kernels/cpu/gram_kernel.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include <hwy/highway.h>
#include <minidl/core/tensor.h>
#include <minidl/kernels/cpu/gram_kernel.h>

#include <algorithm>

HWY_BEFORE_NAMESPACE();
namespace minidl::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Tag = hn::CappedTag<float, 16>;
constexpr int64_t kLanes = hn::MaxLanes(Tag());
constexpr int64_t kRows = kLanes == 16 ? 8 : 4;  // of one tile of the result, which stays in registers
constexpr int64_t kColumns = 2 * kLanes;
constexpr int64_t kPositions = 64;  // at a time, so that all tiles find them in the nearest cache

/// Adds the products of `positions` rows of `stride` floats to the tile at (i, j).
HWY_INLINE void add_tile(const float* rows, int64_t positions, int64_t stride, int64_t i, int64_t j, float* sums) {
  const Tag d;
  hn::Vec<Tag> tile[kRows][2];
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t v = 0; v < 2; ++v) tile[r][v] = hn::Load(d, sums + (i + r) * stride + j + v * kLanes);
  }
  for (int64_t p = 0; p < positions; ++p) {
    const float* row = rows + p * stride;
    const auto left = hn::LoadU(d, row + j), right = hn::LoadU(d, row + j + kLanes);
    for (int64_t r = 0; r < kRows; ++r) {
      const auto factor = hn::Set(d, row[i + r]);
      tile[r][0] = hn::MulAdd(factor, left, tile[r][0]);
      tile[r][1] = hn::MulAdd(factor, right, tile[r][1]);
    }
  }
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t v = 0; v < 2; ++v) hn::Store(tile[r][v], d, sums + (i + r) * stride + j + v * kLanes);
  }
}

void gram_products(const float* features, int64_t positions, int64_t c, int64_t row_begin, int64_t row_end,
                   float* sums) {
  const int64_t stride = gram_stride(c);
  std::fill(sums + row_begin * stride, sums + row_end * stride, 0.0f);
  Tensor padded = Tensor::zeros({c < stride ? kPositions : 0, stride});
  float* copy = padded.data<float>();
  for (int64_t first = 0; first < positions; first += kPositions) {
    const int64_t count = std::min(kPositions, positions - first);
    const float* rows = features + first * c;
    if (c < stride) {
      for (int64_t p = 0; p < count; ++p) std::copy_n(rows + p * c, c, copy + p * stride);
      rows = copy;
    }
    for (int64_t i = row_begin; i < row_end; i += kRows) {
      for (int64_t j = 0; j < i + kRows; j += kColumns) add_tile(rows, count, stride, i, j, sums);
    }
  }
}

}  // namespace minidl::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace minidl::cpu {

HWY_EXPORT(gram_products);
void gram_products(const float* features, int64_t positions, int64_t c, int64_t row_begin, int64_t row_end,
                   float* sums) {
  HWY_DYNAMIC_DISPATCH(gram_products)(features, positions, c, row_begin, row_end, sums);
}

}  // namespace minidl::cpu
#endif  // HWY_ONCE
