#include <minidl/layers/ops.h>
#include <minidl/layers/pool2d.h>

namespace minidl::layers {

Pool2d::Pool2d(PoolKind kind, const Pool2dOptions& options) : kind_(kind), options_(options) {
  MINIDL_CHECK(
      options.kernel >= 1 && options.stride >= 1 && options.padding >= 0 && options.padding < options.kernel,
      "[pool2d] kernel {}, stride {}, padding {}: kernel and stride must be at least 1, the padding in [0, kernel)",
      options.kernel, options.stride, options.padding);
}

Variable Pool2d::forward(const Variable& input) {
  const auto [kernel, stride, padding] = options_;
  return ops::pool2d(input, kind_, kernel, kernel, {stride, stride, Padding::zero(padding)});
}

}  // namespace minidl::layers
