#pragma once
#include <minidl/core/tape.h>
#include <minidl/kernels/activation.h>
#include <minidl/kernels/elementwise.h>

namespace minidl::ops {

/// A mask to be filled with output > 0, when an operation on `inputs` that ends in a ReLU is about to be recorded; else
/// none.
inline BitMask new_relu_mask(Activation activation, Inputs inputs, const Tensor& output) {
  if (activation != Activation::relu || !is_recording(inputs)) return {};
  return BitMask(output.shape(), output.device());
}

/// The same, filled.
inline BitMask filled_relu_mask(Activation activation, Inputs inputs, const Tensor& output) {
  BitMask mask = new_relu_mask(activation, inputs, output);
  if (mask) positive_mask(output, mask);
  return mask;
}

}  // namespace minidl::ops
