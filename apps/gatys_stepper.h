#pragma once
#include <minidl/apps/gatys_objective.h>
#include <minidl/optim/optimizer.h>

#include <memory>

namespace minidl {

/// One optimiser at work on one picture at one scale. Evaluates the objective and updates the picture in place.
class GatysStepper {
 public:
  struct Step {
    GatysLosses losses;
    double grad_norm = 0;
    int evaluations = 0;
    bool converged = false;  // no further progress is possible at this scale
    std::string note;
  };

  virtual ~GatysStepper() = default;
  /// One iteration; reports the losses of the picture after it. The picture never stays where the loss or its gradient
  /// is not finite; throws Error, naming the term, when that is so at the first picture.
  virtual Step step() = 0;
  virtual optim::State state() const = 0;
  virtual void load_state(const optim::State& state) = 0;
  /// What is worth keeping for a finer picture: Adam's moments. Those of L-BFGS and SGD are in units of this scale's
  /// loss.
  virtual optim::State moments() const { return {}; }
  /// Takes over the moments of a coarser picture's optimiser of the same kind, resized.
  virtual void carry_over(optim::State) {}

  static std::unique_ptr<GatysStepper> make(const GatysSettings& settings, GatysObjective& objective, Tensor picture);
};

/// The first term that is not finite, e.g. "style relu4_1", or "gradient" when all are.
std::string name_of_bad_term(const GatysLosses& losses);

}  // namespace minidl
