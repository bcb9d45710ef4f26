#pragma once
#include <minidl/kernels/accumulate.h>

namespace minidl {

/// Total variation, squared form: sum over n,h,w,c of (x[h+1,w] - x[h,w])^2 + (x[h,w+1] - x[h,w])^2 over all neighbouring pairs.
/// x [n,h,w,c] f32. Summed in f64 in a fixed order. All of these throw Error for other shapes, types and
/// devices.
double total_variation(const Tensor& x);
/// factor times that as a scalar: see kernels/reduce.h.
Tensor total_variation_scalar(const Tensor& x, double factor);
/// grad = beta * grad + (mask) scale * d total_variation / dx.
void total_variation_backward(const Tensor& x, float scale, const Accumulate& how, Tensor& grad);

/// The form of the neural-style program: its gradient is that of half the sum of squares of both differences at the (H-1) x (W-1) interior
/// pixels, each term x[h,w] - x[h,w+1] and x[h,w] - x[h+1,w]. Returns that half sum.
double total_variation_interior(const Tensor& x);
Tensor total_variation_interior_scalar(const Tensor& x, double factor);
void total_variation_interior_backward(const Tensor& x, float scale, const Accumulate& how, Tensor& grad);

/// What the _scalar function of the form gives, and grad = scale * what its _backward adds: on a CUDA device in one pass.
Tensor total_variation_and_gradient(const Tensor& x, bool interior, double factor, float scale, Tensor& grad);

}  // namespace minidl
