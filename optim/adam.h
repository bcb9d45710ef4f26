#pragma once
#include <minidl/kernels/adam_update.h>
#include <minidl/optim/optimizer.h>

namespace minidl::optim {

/// Adam (Kingma & Ba 2015, algorithm 1); weight decay is added to the gradient. Parameters without a gradient are skipped.
class Adam final : public Optimizer {
 public:
  explicit Adam(std::vector<Variable> parameters, AdamSettings settings = {});
  void step() override;
  float lr() const override { return settings_.lr; }
  void set_lr(float lr) override { settings_.lr = lr; }
  State state() const override;
  void load_state(const State& state) override;

 private:
  AdamSettings settings_;
  int64_t step_ = 0;
  std::vector<Tensor> first_moment_, second_moment_;
};

}  // namespace minidl::optim
