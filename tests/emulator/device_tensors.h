#pragma once
#include <minidl/core/tensor.h>

#include <random>

namespace minidl::emulator {

inline Device cuda_device() {
  return Device::parse("cuda");
}

/// f32, normally distributed.
inline Tensor device_tensor(const Shape& shape) {
  static std::mt19937 generator(1);
  std::normal_distribution<float> distribution;
  Tensor host = Tensor::empty(shape);
  for (float& value : host.span<float>()) value = distribution(generator);
  return host.to(cuda_device());
}

}  // namespace minidl::emulator
