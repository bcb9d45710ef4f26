#include <minidl/layers/dropout.h>
#include <minidl/layers/init.h>
#include <minidl/layers/ops.h>

namespace minidl::layers {

Dropout::Dropout(float rate) : rate_(rate), rng_(next_rng()) {
  MINIDL_CHECK(rate >= 0.0f && rate < 1.0f, "[dropout] rate is {}, it must be in [0, 1)", rate);
}

Variable Dropout::forward(const Variable& input) {
  return training() ? ops::dropout(input, rate_, rng_) : input;
}

}  // namespace minidl::layers
