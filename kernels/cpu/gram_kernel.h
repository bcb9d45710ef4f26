#pragma once
#include <cstdint>

namespace minidl::cpu {

/// Rows of partial Gram matrices are padded to whole vectors and tiles of every instruction set.
constexpr int64_t gram_stride(int64_t c) {
  return (c + 15) / 16 * 16;
}

/// sums[i,j] = sum over p of features[p,i] * features[p,j] in f32, for i in [row_begin, row_end) and j <= i; row_begin
/// and row_end are multiples of 16. features [positions, c], sums [gram_stride(c), gram_stride(c)]. Right of the
/// diagonal and beyond c the values do not matter.
void gram_products(const float* features, int64_t positions, int64_t c, int64_t row_begin, int64_t row_end,
                   float* sums);

}  // namespace minidl::cpu
