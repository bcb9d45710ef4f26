#pragma once
#include <minidl/core/tensor.h>

namespace minidl {

/// Between f32 and f16 tensors of equal shape, on all threads. Values are rounded to the nearest half, ties to even;
/// those beyond the largest one, 65504, become that, and NaN stays NaN.
void to_half(const Tensor& x, Tensor& halves);
void from_half(const Tensor& halves, Tensor& x);

}  // namespace minidl
