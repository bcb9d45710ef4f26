#pragma once
#include <minidl/optim/optimizer.h>
#include <minidl/optim/preconditioner.h>

#include <functional>
#include <memory>
#include <string>

namespace minidl::optim {

struct LbfgsSettings {
  int history = 10;                    // curvature pairs kept
  int max_evaluations = 20;            // of one line search
  double sufficient_decrease = 1e-4;   // Wolfe constant c1 in (0, 1/2)
  double curvature = 0.9;              // Wolfe constant c2 in (c1, 1)
  double first_step = 10.0;            // root mean square change of the first trial, in units of the parameter
  Preconditioner preconditioner = {};  // M: a run starts along -M gradient; empty: the identity
  Dtype history_dtype = Dtype::f32;    // of the pairs; bf16 takes half the memory and rounds them to 8 bits
};

/// What one iteration did. `note` says in words when something other than an ordinary step happened (restart, recovery,
/// converged).
struct LbfgsReport {
  double loss = 0;          // at the point that the parameter now holds
  double grad_norm = 0;     // ||gradient||_2 there
  double step = 0;          // accepted step length along the direction
  int evaluations = 0;      // of the loss, in this iteration
  bool not_finite = false;  // a loss or a gradient that was tried was not finite
  bool converged = false;   // no descent is possible within rounding, even along the negative gradient: `note` says so
  std::string note;
};

/// Limited-memory BFGS (Nocedal & Wright 2006, algorithms 7.4 and 7.5) for one f32 parameter, with a safeguarded line
/// search (line_search.h) that nearly always accepts its first trial: about one evaluation per iteration. A curvature
/// pair is kept only when y's is sufficiently positive (lbfgs_history.h), a failed search drops the history and tries
/// steepest descent, and a loss or gradient that is not finite shortens the step instead of ending the run. It never
/// stops silently. Thresholds are relative and scalars are f64, so multiplying the loss by a power of two changes no
/// byte of the result. Memory: 2 * history times the parameter (once with bf16), while the loss is evaluated at most
/// five times more (position, direction, three gradients), and between evaluations eight (a pair and what measures it).
/// On a device its numbers are computed there and read once for each evaluation, after it; so a direction that does not
/// descend costs an evaluation there, on the CPU none.
class Lbfgs {
 public:
  /// Writes the gradient of the loss at `x`, which is the parameter, to `gradient` (same shape, f32) and returns the
  /// loss. What it throws leaves step() with the parameter as it was before the step.
  using Evaluate = std::function<double(const Tensor& x, Tensor& gradient)>;

  /// Works on the storage of `parameter`: f32, at least one element. Throws Error for settings outside their ranges.
  explicit Lbfgs(Tensor parameter, LbfgsSettings settings = {});
  ~Lbfgs();
  Lbfgs(Lbfgs&&) noexcept;

  /// One iteration: direction, line search, update of the parameter in place. The first call also evaluates the
  /// starting point, and throws Error when the loss or gradient is not finite there. The parameter never stays at a
  /// point with a loss that is not finite.
  LbfgsReport step(const Evaluate& evaluate);
  const Tensor& parameter() const;
  /// Gradient at the parameter: undefined before the first step, overwritten by the next.
  const Tensor& gradient() const;
  /// Forgets the curvature pairs and the cached loss and gradient, for example after the parameter was changed from
  /// outside.
  void reset();
  /// Everything that step() depends on besides the parameter and the settings: with the same parameter,
  /// load_state(state()) continues bit for bit. Curvature pairs are handles, not copies; later steps do not write to
  /// them.
  State state() const;
  /// Throws Error when something is missing or does not fit the parameter. A longer history than the settings allow
  /// loses its oldest pairs.
  void load_state(const State& state);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace minidl::optim
