#pragma once
#include <minidl/kernels/adam_update.h>
#include <minidl/optim/optimizer.h>

namespace minidl::optim {

/// Adam (Kingma & Ba 2015, algorithm 1); weight decay is added to the gradient. Parameters without a gradient are
/// skipped and do not count the step. Memory: twice the parameters, from their first gradient on. `lr_factors` multiply
/// the learning rate, one >= 0 for each parameter; empty: 1 for all. Throws Error for settings outside their ranges.
class Adam final : public Optimizer {
 public:
  explicit Adam(std::vector<Variable> parameters, AdamSettings settings = {}, std::vector<float> lr_factors = {});
  void step() override;
  float lr() const override { return settings_.lr; }
  void set_lr(float lr) override;
  State state() const override;
  void load_state(const State& state) override;

 private:
  struct Moments {
    int64_t steps = 0;  // of this parameter: one that got its first gradient late is corrected for its own bias
    Tensor first, second;
  };

  AdamSettings settings_;
  std::vector<float> lr_factors_;
  std::vector<Moments> moments_;
};

}  // namespace minidl::optim
