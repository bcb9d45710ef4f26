#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/cuda/arrays.cuh>
#include <minidl/kernels/cuda/map.cuh>

#include <cmath>

// Steps of Adam and SGD. One element a thread; traffic: the gradient once, parameter and moments in and out. Blocks of
// 256. Adam does up to 64 parameters in a launch: their blocks are numbered one after the other.
namespace minidl::cuda {
namespace {

constexpr int kMostParameters = 64;  // 3.8 KiB of the 4 KiB that arguments may have

struct AdamLaunch {
  AdamSettings settings;
  int parameters;
  unsigned first_block[kMostParameters];
  float first_scale[kMostParameters], second_scale[kMostParameters];  // 1 / (1 - beta^step)
  AdamArrays arrays[kMostParameters];
};

MINIDL_KERNEL(kMapThreads, adam_update_kernel, AdamLaunch all) {
  const int which = array_of_block(all.first_block, all.parameters, blockIdx.x);
  const int64_t i = int64_t{blockIdx.x - all.first_block[which]} * kMapThreads + threadIdx.x;
  if (i >= all.arrays[which].count) return;
  const AdamSettings& settings = all.settings;
  float *const parameter = all.arrays[which].parameter + i, *const first_moment = all.arrays[which].first_moment + i,
               *const second_moment = all.arrays[which].second_moment + i;
  const float x = load(parameter), g = load(all.arrays[which].grad + i) + settings.weight_decay * x;
  const float m = settings.beta1 * load(first_moment) + (1.0f - settings.beta1) * g;
  const float v = settings.beta2 * load(second_moment) + (1.0f - settings.beta2) * (g * g);
  store(first_moment, m);
  store(second_moment, v);
  const float direction = m * all.first_scale[which] / (sqrtf(v * all.second_scale[which]) + settings.eps);
  store(parameter, x - settings.lr * direction);
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

void adam_update(const AdamSettings& settings, std::span<const AdamArrays> parameters) {
  const auto scale = [](float beta, int64_t step) {
    return static_cast<float>(1.0 / (1.0 - std::pow(static_cast<double>(beta), static_cast<double>(step))));
  };
  AdamLaunch all{};
  all.settings = settings;
  unsigned blocks = 0;
  const auto launch = [&] {
    if (blocks > 0) MINIDL_LAUNCH(adam_update_kernel, blocks, kMapThreads, 0, current_stream(), all);
    all.parameters = 0;
    blocks = 0;
  };
  for (const AdamArrays& one : parameters) {
    const unsigned added = blocks_for(one.count, kMapThreads);
    if (all.parameters == kMostParameters || added > INT32_MAX - blocks) launch();
    const int i = all.parameters++;
    all.first_block[i] = blocks;
    all.first_scale[i] = scale(settings.beta1, one.step);
    all.second_scale[i] = scale(settings.beta2, one.step);
    all.arrays[i] = one;
    blocks += added;
  }
  launch();
}

void sgd_update(const SgdFactors& factors, int64_t count, const float* grad, float* velocity, float* parameter) {
  if (count == 0) return;
  MINIDL_LAUNCH(sgd_update_kernel, blocks_for(count, kMapThreads), kMapThreads, 0, current_stream(), count, factors,
                grad, velocity, parameter);
}

}  // namespace minidl::cuda
