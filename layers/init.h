#pragma once
#include <minidl/core/rng.h>

namespace minidl::layers {

/// Restarts the random numbers that new layers draw: the same layers made in the same order after seed(s) have the same
/// weights. Process-wide; initially seed(0).
void seed(uint64_t seed);
/// Generator for the next layer, each on its own Philox stream. Thread-safe.
Rng next_rng();

/// Initial values of weights, in place, f32: filters [out, kh, kw, in] or matrices [out, in].
namespace init {

/// Number of values that one output sums (in * kh * kw), and that one input reaches (out * kh * kw).
struct Fans {
  int64_t in = 1, out = 1;
};
/// Throws Error unless the rank is 2 or 4.
Fans fans(const Shape& weight);

void constant(Tensor& values, float value);
/// Uniform in [-bound, bound).
void uniform(Tensor& values, float bound, Rng& rng);
/// N(0, 2 / ((1 + slope^2) fan_in)): keeps the variance through ReLUs with this negative slope (He et al. 2015, eqs. 10
/// and 15).
void he_normal(Tensor& weight, Rng& rng, double slope = 0.0);
/// The same variance, uniform: bound sqrt(6 / ((1 + slope^2) fan_in)). slope sqrt(5) gives PyTorch's default for
/// convolutions and linear layers, 1 / sqrt(fan_in).
void he_uniform(Tensor& weight, Rng& rng, double slope = 0.0);
/// N(0, 2 / (fan_in + fan_out)) (Glorot & Bengio 2010, eq. 12).
void xavier_normal(Tensor& weight, Rng& rng);
/// The same variance, uniform: bound sqrt(6 / (fan_in + fan_out)) (eq. 16).
void xavier_uniform(Tensor& weight, Rng& rng);

}  // namespace init

/// PyTorch's default for a convolution or a linear layer: he_uniform with slope sqrt(5); a bias as uniform in the same
/// bound.
Tensor default_weight(const Shape& shape, Rng& rng);
Tensor default_bias(const Shape& weight, Rng& rng);

}  // namespace minidl::layers
