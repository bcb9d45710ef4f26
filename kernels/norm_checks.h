#pragma once
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/instance_norm.h>

/// Argument checks that instance and batch normalisation share.
namespace minidl {

inline void check_norm_input(const Tensor& input, float eps, const char* op) {
  check_rank(input, 4, op, "input");
  MINIDL_CHECK(input.count() > 0, "[{}] input {} is empty, it has no mean", op, input.shape());
  MINIDL_CHECK(eps > 0.0f, "[{}] eps is {}, it must be positive", op, eps);
}

/// The targets as pointers; `weight` has the shape of the gradients of weight and bias.
inline NormTargets norm_targets(const NormGrads& grads, const Tensor& input, const Shape& weight, const char* op) {
  NormTargets targets{};
  if (grads.grad_input) {
    check_shape(*grads.grad_input, input.shape(), op, "grad_input");
    check_accumulate(grads.how, *grads.grad_input, op);
    common_device(op, input, *grads.grad_input);
    targets.input = grad_target(grads.how, *grads.grad_input);
    targets.written = grads.grad_input;
  }
  if (grads.grad_weight) {
    check_shape(*grads.grad_weight, weight, op, "grad_weight");
    common_device(op, input, *grads.grad_weight);
    targets.weight = grads.grad_weight->data<float>();
    targets.weight_beta = grads.weight_beta;
  }
  if (grads.grad_bias) {
    check_shape(*grads.grad_bias, weight, op, "grad_bias");
    common_device(op, input, *grads.grad_bias);
    targets.bias = grads.grad_bias->data<float>();
    targets.bias_beta = grads.bias_beta;
  }
  return targets;
}

}  // namespace minidl
