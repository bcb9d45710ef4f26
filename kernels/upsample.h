#pragma once
#include <minidl/kernels/accumulate.h>

namespace minidl {

/// Nearest-neighbour upsampling by a whole factor >= 1: output[n,h,w,c] = input[n, h / factor, w / factor, c]. [n,h,w,c] -> [n, h*factor, w*factor, c]; f32.
/// Both throw Error for other shapes, types, devices and factors.
void upsample_nearest_forward(const Tensor& input, int64_t factor, Tensor& output);
/// grad_input = sum of grad_output over the factor x factor block.
void upsample_nearest_backward(const Tensor& grad_output, int64_t factor, const Accumulate& how, Tensor& grad_input);

}  // namespace minidl
