#include <minidl/layers/activation.h>
#include <minidl/layers/ops.h>

#include <cmath>

namespace minidl::layers {

Variable Relu::forward(const Variable& input) {
  return ops::relu(input);
}

Tanh::Tanh(float scale) : scale_(scale) {
  MINIDL_CHECK(std::isfinite(scale) && scale > 0.0f, "[tanh] scale is {}, it must be finite and positive", scale);
}

Variable Tanh::forward(const Variable& input) {
  return ops::tanh(input, scale_);
}

}  // namespace minidl::layers
