#pragma once
#include <minidl/optim/optimizer.h>

#include <functional>
#include <memory>
#include <string>

namespace minidl::optim {

struct LbfgsSettings {
  int history = 10;               // pairs kept; memory 2 * history * parameter
  int max_evaluations = 20;       // of one line search
  double sufficient_decrease = 1e-4;  // Armijo constant c1
  double curvature = 0.9;         // strong Wolfe constant c2
  double first_step = 1.0;        // length of the first trial step: first_step / ||gradient||_2 * gradient, in units of the parameter
};

/// What one iteration did. `note` says in words when something other than an ordinary step happened (restart, recovery, converged).
struct LbfgsReport {
  double loss = 0;                // at the point that the parameter now holds
  double grad_norm = 0;           // ||gradient||_2 there
  double step = 0;                // accepted step length along the direction
  int evaluations = 0;            // of the loss, in this iteration
  bool converged = false;         // no descent is possible within rounding, even along the negative gradient: `note` says so
  std::string note;
};

/// Limited-memory BFGS (Nocedal & Wright 2006, algorithms 7.4 and 7.5) for one parameter, with a strong-Wolfe line search that is safeguarded:
/// a pair is kept only when y's is sufficiently positive, a failed search drops the history and tries steepest descent, and a loss or
/// gradient that is not finite shortens the step instead of ending the run. It never stops silently. Thresholds are relative and scalars
/// are f64, so multiplying the loss by a power of two changes no byte of the result.
class Lbfgs {
 public:
  /// Writes the gradient of the loss at `x` to `gradient` (same shape, f32) and returns the loss.
  using Evaluate = std::function<double(const Tensor& x, Tensor& gradient)>;

  Lbfgs(Tensor parameter, LbfgsSettings settings);
  ~Lbfgs();
  Lbfgs(Lbfgs&&) noexcept;

  /// One iteration: direction, line search, update of the parameter in place. The first call also evaluates the starting point.
  LbfgsReport step(const Evaluate& evaluate);
  const Tensor& parameter() const;
  /// Gradient at the parameter, valid after the first step.
  const Tensor& gradient() const;
  /// Forgets the curvature pairs and the cached loss and gradient, for example after the parameter was changed from outside.
  void reset();
  State state() const;
  void load_state(const State& state);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace minidl::optim
