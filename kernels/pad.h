#pragma once
#include <minidl/kernels/accumulate.h>
#include <minidl/kernels/padding.h>

namespace minidl {

/// output[n,h,w,c] = input'[n, h - top, w - left, c], the input continued by the padding. input [n,h,w,c], output [n, h+top+bottom, w+left+right, c]; f32.
/// Throws Error for other shapes, types and devices.
Shape padded_shape(const Shape& input, const Padding& padding);
void pad_forward(const Tensor& input, const Padding& padding, Tensor& output);
/// grad_input gathers the gradients of every copy of its pixel.
void pad_backward(const Tensor& grad_output, const Padding& padding, const Accumulate& how, Tensor& grad_input);

}  // namespace minidl
