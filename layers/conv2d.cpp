#include <minidl/layers/conv2d.h>
#include <minidl/layers/init.h>
#include <minidl/layers/ops.h>

namespace minidl::layers {

Conv2d::Conv2d(int64_t in_c, int64_t out_c, const Conv2dOptions& options)
    : window_{options.stride, options.stride, options.padding}, activation_(options.activation) {
  MINIDL_CHECK(in_c >= 1 && out_c >= 1 && options.kernel >= 1 && options.stride >= 1,
               "[conv2d] {} to {} channels, kernel {}, stride {}: each must be at least 1", in_c, out_c, options.kernel,
               options.stride);
  Rng rng = next_rng();
  const Shape shape{out_c, options.kernel, options.kernel, in_c};
  weight_ = register_parameter("weight", default_weight(shape, rng));
  if (options.bias) bias_ = register_parameter("bias", default_bias(shape, rng));
}

Variable Conv2d::forward(const Variable& input) {
  return forward_activated(input, activation_);
}

Variable Conv2d::forward_activated(const Variable& input, Activation activation) {
  // ReLU of a ReLU is the ReLU, so the activation on top of this layer's own one is either of them.
  return ops::conv2d(input, weight_, bias_, window_, activation_ == Activation::none ? activation : activation_);
}

}  // namespace minidl::layers
