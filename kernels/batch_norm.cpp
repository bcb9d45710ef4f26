#include <minidl/core/profile.h>
#include <minidl/kernels/batch_norm.h>
#include <minidl/kernels/norm_checks.h>

namespace minidl {
namespace {

constexpr const char* kOp = "batch_norm";

/// One group of all pictures; `vectors` are [c].
NormShape check_batch(const Tensor& input, float eps,
                      std::initializer_list<std::pair<const char*, const Tensor&>> vectors) {
  check_norm_input(input, eps, kOp);
  const Shape& shape = input.shape();
  for (const auto& [name, vector] : vectors) {
    check_shape(vector, {shape[3]}, kOp, name);
    common_device(kOp, input, vector);
  }
  return {1, shape[0] * shape[1] * shape[2], shape[3]};
}

Tensor rstd_of(const Tensor& variance, float eps) {
  Tensor rstd = Tensor::empty(variance.shape(), Dtype::f32, variance.device());
  MINIDL_ON(variance.device(), reciprocal_deviation(variance.count(), variance.data<float>(), eps, rstd.data<float>()));
  return rstd;
}

}  // namespace

void batch_norm_forward_training(const Tensor& input, const Tensor& weight, const Tensor& bias, float eps,
                                 Activation activation, const BatchNormRunning& running, Tensor& output, Tensor& mean,
                                 Tensor& rstd) {
  const NormShape shape = check_batch(input, eps,
                                      {{"weight", weight},
                                       {"bias", bias},
                                       {"running mean", running.mean},
                                       {"running variance", running.variance},
                                       {"mean", mean},
                                       {"rstd", rstd}});
  check_shape(output, input.shape(), kOp, "output");
  MINIDL_CHECK(running.momentum >= 0.0f && running.momentum <= 1.0f,
               "[batch_norm] momentum is {}, it must be in [0, 1]", running.momentum);
  const ProfileRange range(kOp, "forward");
  MINIDL_ON(common_device(kOp, input, output),
            normalize_forward(shape, {input, weight, bias, eps, activation, output},
                              {running.mean.data<float>(), running.variance.data<float>(), running.momentum},
                              mean.data<float>(), rstd.data<float>()));
}

void batch_norm_forward_evaluation(const Tensor& input, const Tensor& weight, const Tensor& bias,
                                   const Tensor& running_mean, const Tensor& running_variance, float eps,
                                   Activation activation, Tensor& output) {
  const NormShape shape = check_batch(
      input, eps,
      {{"weight", weight}, {"bias", bias}, {"running mean", running_mean}, {"running variance", running_variance}});
  check_shape(output, input.shape(), kOp, "output");
  const ProfileRange range(kOp, "forward");
  const Tensor rstd = rstd_of(running_variance, eps);
  MINIDL_ON(common_device(kOp, input, output),
            normalize_forward_fixed(shape, {input, weight, bias, eps, activation, output}, running_mean.data<float>(),
                                    rstd.data<float>()));
}

void batch_norm_backward(const Tensor& input, const Tensor& weight, const Tensor& mean, const Tensor& rstd,
                         const Tensor& grad_output, const NormGrads& grads) {
  const NormShape shape = check_batch(input, 1.0f, {{"weight", weight}, {"mean", mean}, {"rstd", rstd}});
  check_shape(grad_output, input.shape(), kOp, "grad_output");
  const NormTargets targets = norm_targets(grads, input, weight.shape(), kOp);
  const ProfileRange range(kOp, "backward");
  MINIDL_ON(common_device(kOp, input, grad_output),
            normalize_backward(shape,
                               {input.data<float>(), weight.data<float>(), mean.data<float>(), rstd.data<float>(),
                                grad_output.data<float>(), false},
                               targets));
}

void batch_norm_backward_evaluation(const Tensor& input, const Tensor& weight, const Tensor& running_mean,
                                    const Tensor& running_variance, float eps, const Tensor& grad_output,
                                    const NormGrads& grads) {
  const NormShape shape = check_batch(
      input, eps, {{"weight", weight}, {"running mean", running_mean}, {"running variance", running_variance}});
  check_shape(grad_output, input.shape(), kOp, "grad_output");
  const NormTargets targets = norm_targets(grads, input, weight.shape(), kOp);
  const ProfileRange range(kOp, "backward");
  const Tensor rstd = rstd_of(running_variance, eps);
  MINIDL_ON(common_device(kOp, input, grad_output),
            normalize_backward(shape,
                               {input.data<float>(), weight.data<float>(), running_mean.data<float>(),
                                rstd.data<float>(), grad_output.data<float>(), true},
                               targets));
}

}  // namespace minidl
