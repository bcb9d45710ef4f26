#pragma once
#include <minidl/core/tensor.h>

namespace minidl {

/// Mean over the width x width pixels around each, with zeros outside the picture:
///   output[n,h,w,c] = 1 / width^2 * sum over |y - h|, |x - w| <= width / 2 of input[n,y,x,c]
/// input and output [n, h, w, c], f32, two tensors. Throws Error unless width is odd and positive. The time does not depend on the width: sums in
/// f64 gain and lose a row or column at each step, so one infinity or NaN spoils what follows it. The map is symmetric: its own backward pass.
void box_mean(const Tensor& input, int64_t width, Tensor& output);
/// output = x + factor * (the mean of input); x has the same shape, output is none of the two.
void add_box_mean(const Tensor& x, float factor, const Tensor& input, int64_t width, Tensor& output);

}  // namespace minidl
