#pragma once
#include <minidl/core/tensor.h>
#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/reduce.h>

#include <cmath>

namespace minidl::test {

/// 0.5 * sum of w (x - target)^2 of a small picture, with curvatures w from 1 to 50, computed where its tensors are: one
/// wait for a device in an evaluation.
class PictureQuadratic {
 public:
  explicit PictureQuadratic(Device device) {
    Tensor target = Tensor::empty(shape()), curvatures = Tensor::empty(shape());
    for (int64_t i = 0; i < target.count(); ++i) {
      target.data<float>()[i] = std::sin(static_cast<float>(i));
      curvatures.data<float>()[i] = static_cast<float>(1 + i * 7 % 50);
    }
    target_ = target.to(device);
    curvatures_ = curvatures.to(device);
  }
  static Shape shape() { return {1, 8, 9, 3}; }

  double operator()(const Tensor& x, Tensor& gradient) const {
    Tensor difference = Tensor::empty(x.shape(), Dtype::f32, x.device());
    add_scaled(1.0f, x, -1.0f, target_, difference);
    multiply(curvatures_, difference, gradient);
    return 0.5 * dot(gradient, difference);
  }

 private:
  Tensor target_, curvatures_;
};

}  // namespace minidl::test
