#pragma once
#include <minidl/layers/module.h>

namespace minidl::layers {

enum class NormKind { instance, batch };

/// InstanceNorm or BatchNorm with its default options.
std::unique_ptr<ActivatedModule> make_norm(NormKind kind, int64_t channels);

}  // namespace minidl::layers
