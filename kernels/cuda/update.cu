#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/cuda/map.cuh>

#include <cmath>

// Steps of Adam and SGD. One element a thread; traffic: the gradient once, parameter and moments in and out. Blocks of
// 256.
namespace minidl::cuda {
namespace {

struct AdamFactors {
  AdamSettings settings;
  float first_scale, second_scale;  // 1 / (1 - beta^step)
};

MINIDL_KERNEL(kMapThreads, adam_update_kernel, int64_t count, AdamFactors factors, const float* grad, AdamState state) {
  const int64_t i = int64_t{blockIdx.x} * kMapThreads + threadIdx.x;
  if (i >= count) return;
  const AdamSettings& settings = factors.settings;
  const float x = load(state.parameter + i), g = load(grad + i) + settings.weight_decay * x;
  const float m = settings.beta1 * load(state.first_moment + i) + (1.0f - settings.beta1) * g;
  const float v = settings.beta2 * load(state.second_moment + i) + (1.0f - settings.beta2) * (g * g);
  store(state.first_moment + i, m);
  store(state.second_moment + i, v);
  const float direction = m * factors.first_scale / (sqrtf(v * factors.second_scale) + settings.eps);
  store(state.parameter + i, x - settings.lr * direction);
}

MINIDL_KERNEL(kMapThreads, sgd_update_kernel, int64_t count, SgdFactors factors, const float* grad, float* velocity,
              float* parameter) {
  const int64_t i = int64_t{blockIdx.x} * kMapThreads + threadIdx.x;
  if (i >= count) return;
  const float x = load(parameter + i), g = load(grad + i) + factors.weight_decay * x;
  const float v = factors.momentum * load(velocity + i) + g;
  store(velocity + i, v);
  store(parameter + i, x - factors.lr * v);
}

}  // namespace

void adam_update(const AdamSettings& settings, int64_t step, int64_t count, const float* grad, const AdamState& state) {
  if (count == 0) return;
  const auto scale = [&](float beta) {
    return static_cast<float>(1.0 / (1.0 - std::pow(static_cast<double>(beta), static_cast<double>(step))));
  };
  MINIDL_LAUNCH(adam_update_kernel, blocks_for(count, kMapThreads), kMapThreads, 0, current_stream(), count,
                AdamFactors{settings, scale(settings.beta1), scale(settings.beta2)}, grad, state);
}

void sgd_update(const SgdFactors& factors, int64_t count, const float* grad, float* velocity, float* parameter) {
  if (count == 0) return;
  MINIDL_LAUNCH(sgd_update_kernel, blocks_for(count, kMapThreads), kMapThreads, 0, current_stream(), count, factors,
                grad, velocity, parameter);
}

}  // namespace minidl::cuda
