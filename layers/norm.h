#pragma once
#include <minidl/layers/module.h>

namespace minidl::layers {

enum class NormKind { instance, batch };

/// A normalisation of [n, h, w, c].
class Norm : public ActivatedModule {
 public:
  /// residual + forward(input), both of one shape; in one pass where the norm can.
  virtual Variable forward_residual(const Variable& input, const Variable& residual);
};

/// InstanceNorm or BatchNorm with its default options.
std::unique_ptr<Norm> make_norm(NormKind kind, int64_t channels);

}  // namespace minidl::layers
