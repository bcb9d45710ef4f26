#pragma once
#include <minidl/layers/module.h>

namespace minidl::layers {

/// output[m,n] = sum over k of input[m,k] * weight[n,k] + bias[n]: fully connected, [m, in] -> [m, out].
/// Parameters weight [out, in] and bias [out], initialised as PyTorch does (see init.h).
class Linear final : public Module {
 public:
  /// Throws Error when an extent is less than 1.
  Linear(int64_t in, int64_t out, bool bias = true);
  Variable forward(const Variable& input) override;

 private:
  Variable weight_, bias_;  // bias_ is undefined without one
};

}  // namespace minidl::layers
