#pragma once
#include <minidl/core/tensor.h>

namespace minidl {

/// A factor of a loss and its gradient: a known value, times one f64 on a CUDA device when there is one.
struct Factor {
  Factor(float known) : value(known) {}
  explicit Factor(Tensor computed) : on_device(std::move(computed)) {}

  float value = 1;
  Tensor on_device;
};

/// What a reduction comes to: known on the CPU, on its way on a CUDA device.
class Number {
 public:
  Number(double value) : value_(value) {}
  /// One f64 on a device.
  explicit Number(Tensor on_device) : on_device_(std::move(on_device)) {}

  /// Waits for the device.
  double get() const;
  /// coefficient * factor * number as a scalar [] of f32 or f64 on the CPU. In work of a cuda::Recording its value is
  /// there when that was run; else this waits.
  Tensor scaled(double coefficient, const Factor& factor = 1.0f, Dtype dtype = Dtype::f32) const;
  /// numerator / (number + plus), in work of a cuda::Recording on the device; else this waits.
  Factor inverse(double numerator, double plus) const;

 private:
  double value_ = 0;
  Tensor on_device_;
};

}  // namespace minidl
