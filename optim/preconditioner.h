#pragma once
#include <minidl/core/tensor.h>

#include <functional>

namespace minidl::optim {

/// M, symmetric and positive definite: a guess, up to a factor, at the inverse Hessian, from which L-BFGS starts instead of
/// the identity, for which the default stands.
struct Preconditioner {
  /// Writes factor * M x to `output`, another tensor of the same shape.
  std::function<void(const Tensor& x, float factor, Tensor& output)> apply;
  /// Writes x'M x to `product`, f64 [1] on the device of x. Empty: it is computed with apply().
  std::function<void(const Tensor& x, Tensor& product)> product;

  explicit operator bool() const { return static_cast<bool>(apply); }
};

/// For pictures [n, h, w, c], f32:  M = I + strength * B B,  B the mean over `width` x `width` pixels, zero outside the
/// picture (B is symmetric, so M is positive definite). Losses of a network's features are steepest in a picture's
/// finest detail and flat in what neighbouring pixels have in common; a plain gradient step, which the steepest
/// directions limit, hardly moves the rest. (M times the gradient is a Sobolev gradient: Neuberger 1997.) Width 0
/// stands for a twelfth of the longer side, at least 3. Needs one temporary tensor while it runs (kernels/smooth.h). Throws Error unless
/// strength >= 0 and width is 0 or odd.
Preconditioner smoothing(float strength = 30.0f, int64_t width = 0);

}  // namespace minidl::optim
