#pragma once
#include <minidl/core/tape.h>
#include <minidl/kernels/instance_norm.h>

/// What the two normalisations share. Their inputs are, in order: input, weight, bias, and a residual of instance norm.
namespace minidl::ops {

/// The parameter's value, or `otherwise` for each channel of `input` when it is undefined.
inline Tensor per_channel(const Variable& parameter, const Tensor& input, float otherwise) {
  if (parameter) return parameter.value();
  return Tensor::full({input.shape()[input.shape().rank() - 1]}, otherwise, input.device());
}

/// Opens the slots of the gradients that are wanted.
inline NormGrads norm_grads(GradSink& grads) {
  NormGrads targets;
  if (grads.wants(0)) {
    const GradSink::Slot slot = grads.slot(0);
    targets.grad_input = &slot.grad;
    targets.how = {slot.beta, slot.relu_mask};
  }
  if (grads.wants(1)) {
    const GradSink::Slot slot = grads.slot(1);
    targets.grad_weight = &slot.grad;
    targets.weight_beta = slot.beta;
  }
  if (grads.wants(2)) {
    const GradSink::Slot slot = grads.slot(2);
    targets.grad_bias = &slot.grad;
    targets.bias_beta = slot.beta;
  }
  return targets;
}

}  // namespace minidl::ops
