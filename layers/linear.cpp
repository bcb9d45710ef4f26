#include <minidl/layers/init.h>
#include <minidl/layers/linear.h>
#include <minidl/layers/ops.h>

namespace minidl::layers {

Linear::Linear(int64_t in, int64_t out, bool bias) {
  MINIDL_CHECK(in >= 1 && out >= 1, "[linear] {} to {} values: each must be at least 1", in, out);
  Rng rng = next_rng();
  const Shape shape{out, in};
  weight_ = register_parameter("weight", default_weight(shape, rng));
  if (bias) bias_ = register_parameter("bias", default_bias(shape, rng));
}

Variable Linear::forward(const Variable& input) {
  return ops::linear(input, weight_, bias_);
}

}  // namespace minidl::layers
