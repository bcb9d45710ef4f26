#include <minidl/core/cuda/recording.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/number.h>

#include <utility>

namespace minidl {

double Number::get() const {
  return on_device_ ? std::as_const(on_device_).to(Device::cpu()).data<double>()[0] : value_;
}

Tensor Number::scaled(double coefficient, const Factor& factor, Dtype dtype) const {
  cuda::Recording* const recording = cuda::Recording::current();
  if (recording && on_device_) return recording->read(on_device_, coefficient * factor.value, factor.on_device, dtype);
  const double known = factor.value * (factor.on_device ? Number(factor.on_device).get() : 1.0);
  Tensor scalar = Tensor::zeros({}, dtype);
  const double value = coefficient * known * get();
  if (dtype == Dtype::f64) {
    *scalar.data<double>() = value;
  } else {
    *scalar.data<float>() = static_cast<float>(value);
  }
  return scalar;
}

Factor Number::inverse(double numerator, double plus) const {
  if (!on_device_ || !cuda::Recording::current()) return static_cast<float>(numerator / (get() + plus));
  Tensor quotient = Tensor::empty({1}, Dtype::f64, on_device_.device());
  MINIDL_ON(on_device_.device(),
            divide(numerator, std::as_const(on_device_).data<double>(), plus, quotient.data<double>()));
  return Factor(std::move(quotient));
}

}  // namespace minidl
