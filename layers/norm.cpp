#include <minidl/layers/batch_norm.h>
#include <minidl/layers/instance_norm.h>
#include <minidl/layers/norm.h>

namespace minidl::layers {

std::unique_ptr<ActivatedModule> make_norm(NormKind kind, int64_t channels) {
  if (kind == NormKind::batch) return std::make_unique<BatchNorm>(channels);
  return std::make_unique<InstanceNorm>(channels);
}

}  // namespace minidl::layers
