#pragma once
#include <minidl/kernels/accumulate.h>
#include <minidl/kernels/number.h>

#include <span>

namespace minidl {

/// Elementwise kernels. All tensors f32; shapes are equal unless said otherwise. An output may be one of the inputs. Each throws Error for
/// other shapes, types and devices.

/// output = a * x + b * y.
void add_scaled(float a, const Tensor& x, float b, const Tensor& y, Tensor& output);
/// output = a * x + sum of b[k] * y[k], in this order, in f64 and rounded to f32 once; every y[k] crosses memory once.
/// All y are f32 or all bf16; `output` may be x, and is none of them. `b` is f64 [|y|].
void combination(float a, const Tensor& x, const Tensor& b, std::span<const Tensor> y, Tensor& output);
/// output = x * y.
void multiply(const Tensor& x, const Tensor& y, Tensor& output);
/// output = a * x + b.
void affine(float a, const Tensor& x, float b, Tensor& output);
/// output = max(0, x); NaN stays NaN.
void relu_forward(const Tensor& input, Tensor& output);
/// mask = x > 0: what the backward pass needs of a ReLU output. False for NaN.
void positive_mask(const Tensor& x, BitMask& mask);
/// output = scale * tanh(input).
void tanh_forward(const Tensor& input, float scale, Tensor& output);
/// grad_input from the output y = scale * tanh(x): grad_output * (scale - y * y / scale).
void tanh_backward(const Tensor& output, float scale, const Tensor& grad_output, const Accumulate& how, Tensor& grad_input);

/// target = beta * target + (mask ? a * x : 0): the general writer of a gradient that is a multiple of another tensor.
void accumulate_scaled(float a, const Tensor& x, const Accumulate& how, Tensor& target);
/// target = beta * target + (mask ? a * (x - y) : 0).
void accumulate_difference(const Factor& a, const Tensor& x, const Tensor& y, const Accumulate& how, Tensor& target);
/// target = beta * target + (mask ? x * y : 0).
void accumulate_product(const Tensor& x, const Tensor& y, const Accumulate& how, Tensor& target);

/// output[..., c] = a * x[..., c] + b[c] for a vector b of the last dimension's length.
/// `before_convolution`: it is read by one next, for which a CUDA device may leave it in the form of an operand.
void add_per_channel(float a, const Tensor& x, const Tensor& b, Tensor& output, bool before_convolution = false);
/// x = min(max(x, low), high) in place; NaN stays NaN.
void clamp(Tensor& x, float low, float high);

}  // namespace minidl
