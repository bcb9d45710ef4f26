#pragma once
#include <minidl/core/cuda/recording.h>

#include <utility>

namespace minidl {

/// What a reduction comes to: known on the CPU, on its way on a CUDA device.
class Number {
 public:
  Number(double value) : value_(value) {}
  /// One f64 on a device.
  explicit Number(Tensor on_device) : on_device_(std::move(on_device)) {}

  /// Waits for the device.
  double get() const { return on_device_ ? std::as_const(on_device_).to(Device::cpu()).data<double>()[0] : value_; }
  /// factor times the number as a scalar [] of f32 on the CPU. In recorded work its value is there when that was run.
  Tensor scaled(double factor) const {
    if (cuda::Recording* recording = cuda::Recording::current(); recording && on_device_)
      return recording->read(on_device_, factor);
    return Tensor::full({}, static_cast<float>(factor * get()));
  }

 private:
  double value_ = 0;
  Tensor on_device_;
};

}  // namespace minidl
