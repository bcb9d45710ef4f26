#pragma once
#include <minidl/core/rng.h>
#include <minidl/layers/module.h>

namespace minidl::layers {

/// In training, zeroes each value with probability `rate` and divides the rest by 1 - rate (Srivastava et al. 2014); in
/// evaluation, the identity.
class Dropout final : public Module {
 public:
  /// Draws from the next stream of init.h. Throws Error unless 0 <= rate < 1.
  explicit Dropout(float rate = 0.5f);
  Variable forward(const Variable& input) override;

 private:
  float rate_;
  Rng rng_;
};

}  // namespace minidl::layers
