#pragma once
#include <minidl/core/tensor.h>

#include <random>

namespace minidl::test {

/// f32 tensors from a seed, the same on every machine. They do not use the library's own generator, which is under test
/// itself.

/// Integers in [low, high]: sums of their products stay exact in f32 (below 2^24), so results can be compared with ==.
inline Tensor random_integers(const Shape& shape, uint64_t seed, int low = -4, int high = 4) {
  std::mt19937_64 bits(seed);
  Tensor x = Tensor::empty(shape);
  for (float& value : x.span<float>()) {
    value = static_cast<float>(low + static_cast<int>(bits() % static_cast<uint64_t>(high - low + 1)));
  }
  return x;
}

/// Uniform in [low, high).
inline Tensor random_uniform(const Shape& shape, uint64_t seed, float low = -1.0f, float high = 1.0f) {
  std::mt19937_64 bits(seed);
  Tensor x = Tensor::empty(shape);
  for (float& value : x.span<float>()) {
    value = low + (high - low) * static_cast<float>(bits() >> 40) * 0x1p-24f;
  }
  return x;
}

}  // namespace minidl::test
