#pragma once
#include <minidl/layers/module.h>

namespace minidl::layers {

/// max(0, x).
class Relu final : public Module {
 public:
  Variable forward(const Variable& input) override;
};

/// scale * tanh(x): the output layer of a transform net (Johnson et al. 2016) with scale 150.
class Tanh final : public Module {
 public:
  /// Throws Error unless `scale` is finite and positive.
  explicit Tanh(float scale = 1.0f);
  Variable forward(const Variable& input) override;

 private:
  float scale_;
};

}  // namespace minidl::layers
