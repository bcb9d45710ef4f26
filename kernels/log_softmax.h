#pragma once
#include <minidl/kernels/accumulate.h>

namespace minidl {

/// Over the last dimension: output[i,j] = x[i,j] - log(sum over k of exp(x[i,k])), computed from x - max. Any rank >= 1, f32.
/// Both throw Error for other shapes, types and devices.
void log_softmax_forward(const Tensor& input, Tensor& output);
/// grad_input = grad_output - exp(output) * (sum of the row of grad_output).
void log_softmax_backward(const Tensor& output, const Tensor& grad_output, const Accumulate& how, Tensor& grad_input);

}  // namespace minidl
