#pragma once
#include <minidl/kernels/instance_norm.h>

namespace minidl {

/// Batch normalisation (Ioffe & Szegedy 2015): as instance normalisation with statistics per channel over n, h and w.
/// input, output [n,h,w,c]; weight, bias, mean, rstd [c]; f32; eps > 0. All throw Error for other shapes, types and devices.
/// The training pass writes mean and rstd of this batch and updates
///   running = (1 - momentum) * running + momentum * batch   (variance unbiased, as PyTorch does; of one value it stays biased).
struct BatchNormRunning {
  Tensor& mean;      // [c]
  Tensor& variance;  // [c]
  float momentum = 0.1f;
};
void batch_norm_forward_training(const Tensor& input, const Tensor& weight, const Tensor& bias, float eps, Activation activation,
                                 const BatchNormRunning& running, Tensor& output, Tensor& mean, Tensor& rstd);
/// With the running statistics; rstd = 1 / sqrt(variance + eps).
void batch_norm_forward_evaluation(const Tensor& input, const Tensor& weight, const Tensor& bias, const Tensor& running_mean,
                                   const Tensor& running_variance, float eps, Activation activation, Tensor& output);
void batch_norm_backward(const Tensor& input, const Tensor& weight, const Tensor& mean, const Tensor& rstd, const Tensor& grad_output,
                         const NormGrads& grads);
/// Backward of the evaluation pass: the statistics are constants.
void batch_norm_backward_evaluation(const Tensor& input, const Tensor& weight, const Tensor& running_mean,
                                    const Tensor& running_variance, float eps, const Tensor& grad_output, const NormGrads& grads);

}  // namespace minidl
