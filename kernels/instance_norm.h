#pragma once
#include <minidl/kernels/accumulate.h>
#include <minidl/kernels/activation.h>

namespace minidl {

/// Instance normalisation (Ulyanov et al. 2016): per picture and channel over all positions,
///   output = act(weight[c] * (input - mean[n,c]) * rstd[n,c] + bias[c] + residual),  rstd = 1 / sqrt(variance + eps), variance over h*w (biased).
/// input, output [n,h,w,c]; residual [n,h,w,c] or undefined, which adds nothing; weight, bias [c], or [n,c] for conditional instance norm
/// (a row per picture); mean, rstd [n,c]; all f32, the output also bf16 or f16. eps > 0.
/// Statistics with f64 sums in a fixed order: on the CPU in two passes, on a CUDA device, of at most 65535 pictures, in one of differences from
/// a value of the channel, or from moments that a convolution left. Throws Error for other shapes, types and devices. The output may be the input or the residual. The gradient of the residual is
/// that of the output before the activation.
void instance_norm_forward(const Tensor& input, const Tensor& weight, const Tensor& bias, float eps, Activation activation, Tensor& output,
                           Tensor& mean, Tensor& rstd, const Tensor& residual = {});

/// `grad_output` is the gradient before the activation. grad_input goes through `how`; grad_weight and grad_bias (shape of weight) are
/// beta * old + new with their own betas; an undefined one is not computed.
struct NormGrads {
  Tensor* grad_input = nullptr;
  Accumulate how = {};
  Tensor* grad_weight = nullptr;
  float weight_beta = 0.0f;
  Tensor* grad_bias = nullptr;
  float bias_beta = 0.0f;
};
void instance_norm_backward(const Tensor& input, const Tensor& weight, const Tensor& mean, const Tensor& rstd, const Tensor& grad_output,
                            const NormGrads& grads);

}  // namespace minidl
