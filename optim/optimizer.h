#pragma once
#include <minidl/core/variable.h>

#include <map>
#include <string>
#include <vector>

namespace minidl::optim {

/// State of an optimiser for checkpoints: tensors and exact numbers (f64 as tensors of type f64 where they must survive
/// bit for bit).
using State = std::map<std::string, Tensor>;

/// The entry `name` of `state`. Throws Error, naming the optimiser `op`, when it is missing or has another shape or
/// type.
const Tensor& state_entry(const State& state, const std::string& name, const Shape& shape, Dtype dtype, const char* op);

/// Updates parameters in place from their gradients. First-order optimisers step with the gradient that backward left;
/// L-BFGS evaluates the loss itself and has its own interface (lbfgs.h).
class Optimizer {
 public:
  explicit Optimizer(std::vector<Variable> parameters);
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// One update of every parameter that has a gradient.
  virtual void step() = 0;
  virtual float lr() const = 0;
  virtual void set_lr(float lr) = 0;
  /// Everything that step() depends on besides parameters, gradients and settings: load_state(state()) continues bit
  /// for bit.
  virtual State state() const = 0;
  virtual void load_state(const State& state) = 0;

  void zero_grad();
  const std::vector<Variable>& parameters() const { return parameters_; }

 protected:
  /// f32 zeros with the shape and device of `x`.
  static Tensor zeros_like(const Tensor& x);
  /// Throws Error, naming the optimiser `op`, unless `value` is finite and not negative.
  static void check_not_negative(float value, const char* name, const char* op);

  std::vector<Variable> parameters_;
};

}  // namespace minidl::optim
