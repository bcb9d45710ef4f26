#pragma once
// The first CUDA device, for tests of what lies below the operations.
#include <gtest/gtest.h>
#include <minidl/core/cuda/backend.h>
#include <support/device.h>

#include <optional>

namespace minidl::test {

inline const Device kCudaDevice{Device::Kind::cuda, 0};

/// Its tests run with the device current, and are skipped where there is none.
class OnCudaDevice : public ::testing::Test {
 protected:
  void SetUp() override {
    if (on_cpu()) GTEST_SKIP() << "needs a device: MINIDL_TEST_DEVICE=cuda";
    scope_.emplace(0);
  }

 private:
  std::optional<cuda::DeviceScope> scope_;
};

/// `x` on the device, at a multiple of 16 bytes or not.
inline Tensor on_cuda_device(const Tensor& x, bool aligned = true) {
  if (aligned) return x.to(kCudaDevice);
  Tensor copy = Tensor::empty({x.count() + 1}, Dtype::f32, kCudaDevice).slice(1, x.count() + 1).reshape(x.shape());
  copy.copy_from(x);
  return copy;
}

}  // namespace minidl::test
