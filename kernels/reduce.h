#pragma once
#include <minidl/core/bit_mask.h>
#include <minidl/kernels/number.h>

#include <span>

namespace minidl {

/// Reductions over f32 tensors. Those that return double wait for the device; the same with _scalar return factor times
/// that as a scalar [] of f32 on the CPU, whose value is there at once, or, in work of a cuda::Recording, when that was
/// run. Each is summed in f64 over blocks of a fixed size, and the blocks in order: the same number for every count
/// of threads, with a relative rounding error near 1e-15 times the square root of the count. Each throws Error for tensors
/// of other types, or of shapes or devices that differ.

double sum(const Tensor& x);
Tensor sum_scalar(const Tensor& x, double factor);
/// Sum of x * y; equal shapes.
double dot(const Tensor& x, const Tensor& y);
/// output[j, i] = dot(x[i], y[j]), the same bytes, for tensors of one shape: each x[i] crosses memory once as long as a
/// block of every y stays in the cache. `output` is f64 [|y|, |x|] on the device of the tensors, where nothing waits
/// for it. All x are f32 or all bf16, which is dot() of the same values in f32.
void dots(std::span<const Tensor> x, std::span<const Tensor> y, Tensor& output);
/// Sum of squares.
double squared_norm(const Tensor& x);
Tensor squared_norm_scalar(const Tensor& x, double factor);
Number squared_norm_number(const Tensor& x);
/// Of all of them together, 0 of none; on a CUDA device in one launch for 128 of them.
Number squared_norm_number(std::span<const Tensor> x);
/// Sum of |x|.
double absolute_sum(const Tensor& x);
/// Largest |x|; 0 for an empty tensor, NaN when there is one.
float max_abs(const Tensor& x);
/// Sum of (x - y)^2; equal shapes.
double squared_distance(const Tensor& x, const Tensor& y);
Tensor squared_distance_scalar(const Tensor& x, const Tensor& y, double coefficient, const Factor& factor = 1.0f);
/// The same, and gradient = relu_mask ? a * (x - y) : 0 (without a mask everywhere), of a shape with x: on a CUDA device in
/// one pass.
Tensor squared_distance_and_gradient(const Tensor& x, const Tensor& y, double coefficient, const Factor& factor,
                                     const Factor& a, const BitMask* relu_mask, Tensor& gradient);
/// True when no element is infinite or NaN.
bool all_finite(const Tensor& x);

/// output[c] = beta * output[c] + sum of x[..., c] over all other dimensions; output has the last dimension's length.
void sum_per_channel(const Tensor& x, float beta, Tensor& output);

/// Mean and biased variance of x[..., c] over all other dimensions, which have at least one position; mean and variance
/// have the last dimension's length. Squares are taken of the differences from means, so that little is lost where the
/// variance is small.
void channel_moments(const Tensor& x, std::span<double> mean, std::span<double> variance);

}  // namespace minidl
