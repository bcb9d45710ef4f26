#pragma once
#include <minidl/kernels/accumulate.h>
#include <minidl/kernels/activation.h>
#include <minidl/kernels/checks.h>
#include <minidl/kernels/number.h>
#include <minidl/kernels/pool2d.h>

#include <cstdint>

/// What the implementations behind kernels/<op>.h get on every device: raw pointers and plain numbers, checked by the
/// caller.
namespace minidl {

/// Where a gradient goes: grad = beta * grad + (relu_mask ? r : 0); without a mask everything is added, with beta 0
/// grad is not read.
struct GradTarget {
  float* grad;
  float beta;
  BitSpan relu_mask = {};
  /// The same for the elements from `offset` on.
  GradTarget from(int64_t offset) const { return {grad + offset, beta, relu_mask.from(offset)}; }
};
inline GradTarget grad_target(const Accumulate& how, Tensor& grad) {
  return {grad.data<float>(), how.beta, mask_span(how)};
}

/// A Factor.
struct RawFactor {
  float value;
  const double* on_device;  // times this, when there is one
};
inline RawFactor raw_factor(const Factor& factor) {
  return {factor.value, factor.on_device ? factor.on_device.data<double>() : nullptr};
}

struct PoolGradient {
  const Pool2dDesc& desc;
  const uint8_t* choice;  // nullptr for average pooling
  const float* grad_output;
  GradTarget target;
};

struct GramShape {
  int64_t n, positions, c;  // positions = h * w
  float scale;
};

/// Of one layer: pictures' targets are `apart` elements apart. `written` is the tensor of `difference`, with which another
/// form of it may be left.
struct GramDifferenceArrays {
  GramShape shape;
  const float *features, *target;
  int64_t apart;
  float factor;
  float* difference;
  const Tensor* written;
};

/// What is multiplied and written: from a tensor a device may take another form of its values, and leave one with it.
struct GramGradientTensors {
  const Tensor &features, &matrix, &written;
};

struct TotalVariationForm {
  int64_t n, h, w, c;
  bool interior;  // only the pairs that start in the (h-1) x (w-1) interior
};

/// output = factor * (x + strength * B B x), B the mean over width x width pixels.
struct Smoothing {
  float strength;
  int64_t width;
  float factor;
};

/// Of a point of a line search.
struct SearchArrays {
  const float *position, *start, *gradient, *gradient_at_start, *direction;
};

/// Of the beginning of one.
struct SearchStartArrays {
  int64_t count;
  const float *gradient, *start;
  float *direction, *position;
  double* products;
};

/// Of one parameter.
struct AdamArrays {
  int64_t step, count;
  const float* grad;
  float *first_moment, *second_moment, *parameter;
};
struct SgdFactors {
  float lr, momentum, weight_decay;
};

struct ChannelRows {
  int64_t positions, c;  // at least 1
};

/// Instance normalisation has a group per picture, batch normalisation one group of all pictures.
struct NormShape {
  int64_t groups, positions, c;   // of the input; at least 1
  bool weight_per_group = false;  // weight, bias and their gradients are [groups, c], else [c]
};
/// As tensors, with which a device may have left what it knows of them. `output` may be `input`: it is opened for writing
/// when nothing is asked of that any more.
struct NormForward {
  const Tensor &input, &weight, &bias;
  float eps;
  Activation activation;
  Tensor& output;  // on a CUDA device also of bf16 or f16
  const float* residual = nullptr;  // of the input's shape, added before the activation
};
/// Statistics [c] that a training forward pass moves: running = (1 - momentum) * running + momentum * batch, of the
/// unbiased variance. Without them both are nullptr.
struct NormRunning {
  float *mean = nullptr, *variance = nullptr;
  float momentum = 0.0f;
};
struct NormBackward {
  const float *input, *weight, *mean, *rstd, *grad_output;
  bool fixed_statistics;  // they do not depend on the input
};
/// Unwanted ones are nullptr.
struct NormTargets {
  GradTarget input;
  float* weight;
  float weight_beta;
  float* bias;
  float bias_beta;
  const Tensor* written = nullptr;  // the tensor of the input's gradient
};

}  // namespace minidl
