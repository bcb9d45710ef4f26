#pragma once
#include <minidl/core/tensor.h>

#include <span>

namespace minidl {

/// One step of Adam (Kingma & Ba 2015, algorithm 1) in one pass, f32, equal shapes:
///   g' = g + weight_decay * x;  m = beta1 m + (1 - beta1) g';  v = beta2 v + (1 - beta2) g'^2
///   x -= lr * (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + eps)
struct AdamSettings {
  float lr = 1e-3f;
  float beta1 = 0.9f;
  float beta2 = 0.999f;
  float eps = 1e-8f;
  float weight_decay = 0.0f;
};
/// `step` counts from 1. All of these throw Error for shapes that differ, and other types and devices.
void adam_update(const AdamSettings& settings, int64_t step, const Tensor& grad, Tensor& first_moment,
                 Tensor& second_moment, Tensor& parameter);

/// A parameter of a step of many, as the arguments of adam_update.
struct AdamTensors {
  int64_t step;
  Tensor grad, first_moment, second_moment, parameter;
};
/// adam_update of each, the same bytes; all on one device, where it is one launch for every 64 of them.
void adam_update(const AdamSettings& settings, std::span<AdamTensors> parameters);

/// SGD with momentum as PyTorch has it: g' = g + weight_decay * x; velocity = momentum * velocity + g' (first step: g'); x -= lr * velocity.
void sgd_update(float lr, float momentum, float weight_decay, const Tensor& grad, Tensor& velocity, Tensor& parameter);

}  // namespace minidl
