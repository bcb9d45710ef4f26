#pragma once
#include <minidl/optim/optimizer.h>

namespace minidl::optim {

struct SgdSettings {
  float lr = 1e-2f;           // >= 0
  float momentum = 0.0f;      // in [0, 1)
  float weight_decay = 0.0f;  // >= 0
};

/// Gradient descent with momentum: velocity = momentum * velocity + gradient + weight_decay * x, x -= lr * velocity.
/// Without momentum it keeps no velocity, so it has no state. Throws Error for settings outside their ranges.
class Sgd final : public Optimizer {
 public:
  explicit Sgd(std::vector<Variable> parameters, SgdSettings settings = {});
  void step() override;
  float lr() const override { return settings_.lr; }
  void set_lr(float lr) override;
  State state() const override;
  void load_state(const State& state) override;

 private:
  SgdSettings settings_;
  std::vector<Tensor> velocity_;  // undefined until the parameter's first gradient
};

}  // namespace minidl::optim
