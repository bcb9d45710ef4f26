#include <minidl/layers/batch_norm.h>
#include <minidl/layers/ops.h>

namespace minidl::layers {

BatchNorm::BatchNorm(int64_t channels, const BatchNormOptions& options)
    : eps_(options.eps), momentum_(options.momentum) {
  MINIDL_CHECK(
      channels >= 1 && eps_ > 0.0f && momentum_ >= 0.0f && momentum_ <= 1.0f,
      "[batch_norm] {} channels, eps {}, momentum {}: there must be a channel, eps positive, the momentum in [0, 1]",
      channels, eps_, momentum_);
  if (options.affine) {
    weight_ = register_parameter("weight", Tensor::full({channels}, 1.0f));
    bias_ = register_parameter("bias", Tensor::zeros({channels}));
  }
  running_mean_ = register_buffer("running_mean", Tensor::zeros({channels}));
  running_variance_ = register_buffer("running_var", Tensor::full({channels}, 1.0f));
}

Variable BatchNorm::forward(const Variable& input) {
  return forward_activated(input, Activation::none);
}

Variable BatchNorm::forward_activated(const Variable& input, Activation activation) {
  ops::BatchNormState state{running_mean_.value(), running_variance_.value(), momentum_, training()};
  return ops::batch_norm(input, weight_, bias_, state, eps_, activation);
}

}  // namespace minidl::layers
