#include <minidl/core/profile.h>
#include <minidl/kernels/half.h>
#include <minidl/kernels/instance_norm.h>
#include <minidl/kernels/norm_checks.h>

namespace minidl {
namespace {

constexpr const char* kOp = "instance_norm";

NormShape shape_of(const Tensor& input, const Tensor& weight) {
  const Shape& shape = input.shape();
  const Shape per_picture{shape[0], shape[3]};
  const bool conditional = weight && weight.shape().rank() == 2;
  check_shape(weight, conditional ? per_picture : Shape{shape[3]}, kOp, "weight");
  return {shape[0], shape[1] * shape[2], shape[3], conditional};
}

}  // namespace

void instance_norm_forward(const Tensor& input, const Tensor& weight, const Tensor& bias, float eps,
                           Activation activation, Tensor& output, Tensor& mean, Tensor& rstd, const Tensor& residual) {
  check_norm_input(input, eps, kOp);
  const NormShape shape = shape_of(input, weight);
  check_shape(bias, weight.shape(), kOp, "bias");
  check_feature_map(output, input.shape(), kOp, "output");
  check_shape(mean, {shape.groups, shape.c}, kOp, "mean");
  check_shape(rstd, {shape.groups, shape.c}, kOp, "rstd");
  if (residual) check_shape(residual, input.shape(), kOp, "residual");
  const ProfileRange range(kOp, "forward");
  const Device device = common_device(kOp, input, weight, bias, output, mean, rstd, residual);
  const auto run = [&](Tensor& result) {
    MINIDL_ON(device,
              normalize_forward(
                  shape, {input, weight, bias, eps, activation, result, residual ? residual.data<float>() : nullptr},
                  {}, mean.data<float>(), rstd.data<float>()));
  };
  if (output.dtype() == Dtype::f32 || device.kind == Device::Kind::cuda) return run(output);
  Tensor values = Tensor::empty(output.shape());
  run(values);
  to_half(values, output);
}

void instance_norm_backward(const Tensor& input, const Tensor& weight, const Tensor& mean, const Tensor& rstd,
                            const Tensor& grad_output, const NormGrads& grads) {
  check_norm_input(input, 1.0f, kOp);
  const NormShape shape = shape_of(input, weight);
  check_shape(mean, {shape.groups, shape.c}, kOp, "mean");
  check_shape(rstd, {shape.groups, shape.c}, kOp, "rstd");
  check_shape(grad_output, input.shape(), kOp, "grad_output");
  const NormTargets targets = norm_targets(grads, input, weight.shape(), kOp);
  const ProfileRange range(kOp, "backward");
  MINIDL_ON(common_device(kOp, input, weight, mean, rstd, grad_output),
            normalize_backward(shape,
                               {input.data<float>(), weight.data<float>(), mean.data<float>(), rstd.data<float>(),
                                grad_output.data<float>(), false},
                               targets));
}

}  // namespace minidl
