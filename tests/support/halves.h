#pragma once
#include <minidl/kernels/half.h>

namespace minidl::test {

/// f32 rounded to bf16, and bf16 as f32.
inline Tensor to_bf16(const Tensor& x) {
  Tensor halves = Tensor::empty(x.shape(), Dtype::bf16);
  to_half(x, halves);
  return halves;
}
inline Tensor from_bf16(const Tensor& halves) {
  Tensor x = Tensor::empty(halves.shape());
  from_half(halves, x);
  return x;
}

}  // namespace minidl::test
