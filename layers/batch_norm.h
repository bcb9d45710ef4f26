#pragma once
#include <minidl/layers/norm.h>

namespace minidl::layers {

struct BatchNormOptions {
  float eps = 1e-5f;      // > 0
  float momentum = 0.1f;  // share of a new batch in the running statistics, in [0, 1]
  bool affine = true;
};

/// Batch normalisation (Ioffe & Szegedy 2015) of [n, h, w, c] per channel: with the statistics of the batch in
/// training, which also updates the running ones, and with the running ones in evaluation. Formulas in
/// kernels/batch_norm.h. Parameters weight [c] = 1 and bias [c] = 0, if `affine`; buffers running_mean [c] = 0 and
/// running_var [c] = 1.
class BatchNorm final : public Norm {
 public:
  /// Throws Error when the number of channels or an option is out of range.
  explicit BatchNorm(int64_t channels, const BatchNormOptions& options = {});
  Variable forward(const Variable& input) override;
  Variable forward_activated(const Variable& input, Activation activation) override;

 private:
  float eps_;
  float momentum_;
  Variable weight_, bias_;  // undefined without `affine`
  Variable running_mean_, running_variance_;
};

}  // namespace minidl::layers
