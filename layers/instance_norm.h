#pragma once
#include <minidl/layers/norm.h>

namespace minidl::layers {

/// Instance normalisation (Ulyanov et al. 2016) of [n, h, w, c]: each picture and channel to mean 0 and variance 1,
/// then times weight[c] plus bias[c]. Formula in kernels/instance_norm.h. Parameters weight [c] = 1 and bias [c] = 0,
/// if `affine`.
class InstanceNorm final : public Norm {
 public:
  /// Throws Error unless channels >= 1 and eps > 0.
  explicit InstanceNorm(int64_t channels, float eps = 1e-5f, bool affine = true);
  Variable forward(const Variable& input) override;
  Variable forward_activated(const Variable& input, Activation activation) override;
  Variable forward_residual(const Variable& input, const Variable& residual) override;

 private:
  float eps_;
  Variable weight_, bias_;  // undefined without `affine`
};

}  // namespace minidl::layers
