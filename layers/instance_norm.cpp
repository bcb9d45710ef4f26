#include <minidl/layers/instance_norm.h>
#include <minidl/layers/ops.h>

namespace minidl::layers {

InstanceNorm::InstanceNorm(int64_t channels, float eps, bool affine) : eps_(eps) {
  MINIDL_CHECK(channels >= 1 && eps > 0.0f,
               "[instance_norm] {} channels, eps {}: there must be a channel, and eps positive", channels, eps);
  if (!affine) return;
  weight_ = register_parameter("weight", Tensor::full({channels}, 1.0f));
  bias_ = register_parameter("bias", Tensor::zeros({channels}));
}

Variable InstanceNorm::forward(const Variable& input) {
  return forward_activated(input, Activation::none);
}

Variable InstanceNorm::forward_activated(const Variable& input, Activation activation) {
  return ops::instance_norm(input, weight_, bias_, eps_, activation);
}

Variable InstanceNorm::forward_residual(const Variable& input, const Variable& residual) {
  return ops::instance_norm(input, weight_, bias_, eps_, Activation::none, residual);
}

}  // namespace minidl::layers
