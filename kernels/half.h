#pragma once
#include <minidl/core/tensor.h>

namespace minidl {

/// Between f32 tensors and `halves` of equal shape, f16 or bf16, on all threads. Values are rounded to the nearest,
/// ties to even; those beyond the largest f16, 65504, become that, and NaN stays NaN. Throws Error for other types and
/// shapes.
void to_half(const Tensor& x, Tensor& halves);
void from_half(const Tensor& halves, Tensor& x);
/// `x`, or where it is f16 or bf16 an f32 copy.
Tensor as_f32(const Tensor& x);

}  // namespace minidl
