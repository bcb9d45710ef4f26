#pragma once
#include <minidl/optim/optimizer.h>

namespace minidl::optim {

struct SgdSettings {
  float lr = 1e-2f;
  float momentum = 0.0f;
  float weight_decay = 0.0f;
};

/// Gradient descent with momentum: velocity = momentum * velocity + gradient (+ weight_decay * x), x -= lr * velocity.
class Sgd final : public Optimizer {
 public:
  explicit Sgd(std::vector<Variable> parameters, SgdSettings settings = {});
  void step() override;
  float lr() const override { return settings_.lr; }
  void set_lr(float lr) override { settings_.lr = lr; }
  State state() const override;
  void load_state(const State& state) override;

 private:
  SgdSettings settings_;
  std::vector<Tensor> velocity_;
};

}  // namespace minidl::optim
