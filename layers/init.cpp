#include <minidl/layers/init.h>

#include <cmath>
#include <mutex>

namespace minidl::layers {
namespace {

struct Seeds {
  std::mutex mutex;
  uint64_t seed = 0;
  uint64_t next_stream = 0;
};

Seeds& seeds() {
  static Seeds instance;
  return instance;
}

/// Bound of he_uniform with slope sqrt(5).
float default_bound(const Shape& weight) {
  return 1.0f / std::sqrt(static_cast<float>(init::fans(weight).in));
}

}  // namespace

void seed(uint64_t seed) {
  const std::lock_guard lock(seeds().mutex);
  seeds().seed = seed;
  seeds().next_stream = 0;
}

Rng next_rng() {
  const std::lock_guard lock(seeds().mutex);
  return Rng(seeds().seed, seeds().next_stream++);
}

namespace init {

Fans fans(const Shape& weight) {
  MINIDL_CHECK(weight.rank() == 2 || weight.rank() == 4,
               "[init] no fans for shape {}: filters have 4 dimensions, matrices 2", weight);
  MINIDL_CHECK(weight.count() > 0, "[init] weight {} is empty", weight);
  return {weight.count() / weight[0], weight.count() / weight[weight.rank() - 1]};
}

void constant(Tensor& values, float value) {
  values.fill(value);
}

void uniform(Tensor& values, float bound, Rng& rng) {
  rng.fill_uniform(values, -bound, bound);
}

void he_normal(Tensor& weight, Rng& rng, double slope) {
  const double variance = 2.0 / ((1.0 + slope * slope) * static_cast<double>(fans(weight.shape()).in));
  rng.fill_normal(weight, 0.0f, static_cast<float>(std::sqrt(variance)));
}

void he_uniform(Tensor& weight, Rng& rng, double slope) {
  const double variance = 2.0 / ((1.0 + slope * slope) * static_cast<double>(fans(weight.shape()).in));
  uniform(weight, static_cast<float>(std::sqrt(3.0 * variance)), rng);
}

void xavier_normal(Tensor& weight, Rng& rng) {
  const Fans fan = fans(weight.shape());
  rng.fill_normal(weight, 0.0f, static_cast<float>(std::sqrt(2.0 / static_cast<double>(fan.in + fan.out))));
}

void xavier_uniform(Tensor& weight, Rng& rng) {
  const Fans fan = fans(weight.shape());
  uniform(weight, static_cast<float>(std::sqrt(6.0 / static_cast<double>(fan.in + fan.out))), rng);
}

}  // namespace init

Tensor default_weight(const Shape& shape, Rng& rng) {
  Tensor weight = Tensor::empty(shape);
  init::uniform(weight, default_bound(shape), rng);
  return weight;
}

Tensor default_bias(const Shape& weight, Rng& rng) {
  Tensor bias = Tensor::empty({weight[0]});
  init::uniform(bias, default_bound(weight), rng);
  return bias;
}

}  // namespace minidl::layers
