#pragma once
#include <minidl/kernels/conv2d.h>
#include <minidl/kernels/cuda/window_products.h>

/// What the products read of a convolution's input [n, in_h, in_w, in_c]. Where its channels are so few that each tap is
/// mostly padding, and filters are wide, the taps of a row, neighbours in memory, are one tap: at each row of the input
/// and column of the output, k_w * in_c numbers side by side, padded once. Filters [out_c, k_h, k_w, in_c] are
/// [out_c, k_h, 1, k_w * in_c] then as they lie. A 9x9 filter of 3 channels has 288 terms of 16 bits, of 648.
namespace minidl::cuda {

Windows windows_of(const WindowProducts& products, const Conv2dDesc& desc);

inline constexpr int64_t kFewChannels = 8;  // fewer of them

/// Of a filter's row.
struct FilterRow {
  int64_t taps, channels;
};
FilterRow filter_row(const WindowProducts& products, const Conv2dDesc& desc);

/// `tensor`, of the values, may have an operand that was left with it, or be nullptr; `values` may be nullptr where the
/// tensor is not f32.
Operand input_operand(const WindowProducts& products, const Conv2dDesc& desc, const Tensor* tensor,
                      const float* values);
/// Bytes that it allocates at the most.
int64_t input_operand_bytes(const WindowProducts& products, const Conv2dDesc& desc);

}  // namespace minidl::cuda
