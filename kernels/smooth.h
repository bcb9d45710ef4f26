#pragma once
#include <minidl/core/tensor.h>

namespace minidl {

/// A picture and what is left of it when it is blurred twice:
///   output = factor * (x + strength * B B x),   B the mean over the width x width pixels around each, zero outside the picture:
///   (B x)[n,h,w,c] = 1 / width^2 * sum over |y - h|, |z - w| <= width / 2 of x[n,y,z,c]
/// x and output [n, h, w, c], f32, which share no storage; another tensor is needed in between. Throws Error unless width is odd and positive.
/// The map is symmetric: its own backward pass. On the CPU the time does not depend on the width: sums in f64 gain and lose a row or column at
/// each step, so one infinity or NaN spoils what follows it. A CUDA device adds the 2 * width - 1 neighbours along each axis, in f32.
void smooth(const Tensor& x, float strength, int64_t width, float factor, Tensor& output);
/// product = x'y, y what smooth() makes of x with factor 1; f64 [1] on the device of x, where nothing waits for it.
void smooth_product(const Tensor& x, float strength, int64_t width, Tensor& product);

}  // namespace minidl
