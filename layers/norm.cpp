#include <minidl/layers/batch_norm.h>
#include <minidl/layers/instance_norm.h>
#include <minidl/layers/norm.h>
#include <minidl/layers/ops.h>

namespace minidl::layers {

Variable Norm::forward_residual(const Variable& input, const Variable& residual) {
  return ops::add(residual, forward(input));
}

std::unique_ptr<Norm> make_norm(NormKind kind, int64_t channels) {
  if (kind == NormKind::batch) return std::make_unique<BatchNorm>(channels);
  return std::make_unique<InstanceNorm>(channels);
}

}  // namespace minidl::layers
