#include <minidl/layers/ops.h>
#include <minidl/layers/upsample.h>

namespace minidl::layers {

Upsample::Upsample(int64_t factor) : factor_(factor) {
  MINIDL_CHECK(factor >= 1, "[upsample] factor is {}, it must be at least 1", factor);
}

Variable Upsample::forward(const Variable& input) {
  return ops::upsample_nearest(input, factor_);
}

}  // namespace minidl::layers
