#pragma once
#include <emulator/device_tensors.h>
#include <emulator/kernel_cases.h>
#include <minidl/kernels/half.h>

#include <memory>

/// What the cases of counted kernels have in common.
namespace minidl::emulator {

inline constexpr int64_t kFloat = sizeof(float), kDouble = sizeof(double);
using Launches = std::vector<ExpectedLaunch>;

inline std::string text(const Tensor& x) {
  return x.shape().str();
}

/// A tensor that operations write.
inline std::shared_ptr<Tensor> shared(const Shape& shape) {
  return std::make_shared<Tensor>(device_tensor(shape));
}

inline Tensor device_bf16(const Shape& shape) {
  Tensor halves = Tensor::empty(shape, Dtype::bf16, cuda_device());
  to_half(device_tensor(shape), halves);
  return halves;
}

}  // namespace minidl::emulator
