#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/reduce.h>
#include <minidl/optim/lbfgs.h>
#include <minidl/optim/lbfgs_history.h>
#include <minidl/optim/line_search.h>

#include <cmath>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace minidl::optim {
namespace {

constexpr double kMinDescent = 1e-10;  // of -slope, relative to ||gradient|| ||direction||

void add_note(std::string& note, const std::string& text) {
  note += (note.empty() ? "" : "; ") + text;
}

double norm(const Tensor& x) {
  return std::sqrt(squared_norm(x));
}

Tensor difference(const Tensor& x, const Tensor& y) {
  Tensor result = Tensor::empty(x.shape(), Dtype::f32, x.device());
  add_scaled(1.0f, x, -1.0f, y, result);
  return result;
}

/// A point of a line search. Its numbers are computed where the tensors are and come to the host together.
struct Trial {
  Tensor gradient;
  LbfgsHistory::Pair pair;  // from the start to here, until the next point
  double loss = 0;
  PointProducts products;
};

/// Of a search, f64 on its device: slope and square of the direction, which are the same for all of its points, and
/// what is measured at each.
class Numbers {
 public:
  static constexpr int64_t kDirection = 2;

  explicit Numbers(Device device) : all_(Tensor::empty({kCount}, Dtype::f64, device)) {}
  Tensor direction() const { return all_.slice(0, kDirection); }
  Tensor point() const { return all_.slice(kDirection, kCount); }
  /// Waits for the device.
  std::vector<double> read() const {
    const Tensor host = all_.to(Device::cpu());
    return {host.data<double>(), host.data<double>() + kCount};
  }

 private:
  static constexpr int64_t kCount = kDirection + kPairProducts + 1;

  Tensor all_;
};

}  // namespace

struct Lbfgs::Impl {
  Impl(Tensor x, const LbfgsSettings& chosen)
      : parameter(std::move(x)),
        settings(chosen),
        search_settings{chosen.max_evaluations, chosen.sufficient_decrease, chosen.curvature},
        history(chosen.history, chosen.preconditioner, chosen.history_dtype) {
    search_settings.check();
  }

  LbfgsReport step(const Evaluate& evaluate);
  double evaluate_here(const Evaluate& evaluate, Tensor& grad) const;
  void evaluate_start(const Evaluate& evaluate);
  void restart();
  enum class Outcome { moved, does_not_descend, failed };
  Outcome search(const Evaluate& evaluate, LbfgsReport& report);
  bool descends(double slope, double direction_norm) const;
  std::vector<double> try_point(const Evaluate& evaluate, const Tensor& start, const Tensor& direction,
                                const Numbers& numbers, Trial& trial);

  Tensor parameter;
  LbfgsSettings settings;
  LineSearchSettings search_settings;
  LbfgsHistory history;
  // At the parameter. The gradient is undefined until the start was evaluated.
  double loss = 0;
  double grad_norm = 0;
  Tensor gradient;
};

double Lbfgs::Impl::evaluate_here(const Evaluate& evaluate, Tensor& grad) const {
  if (!grad) grad = Tensor::empty(parameter.shape(), Dtype::f32, parameter.device());
  const double value = evaluate(parameter, grad);
  MINIDL_CHECK(grad.shape() == parameter.shape() && grad.dtype() == Dtype::f32,
               "[lbfgs] evaluate gave a gradient {} of {}, the parameter is {} of f32", grad.shape(),
               to_string(grad.dtype()), parameter.shape());
  return value;
}

void Lbfgs::Impl::evaluate_start(const Evaluate& evaluate) {
  Tensor grad;
  const double value = evaluate_here(evaluate, grad);
  const double length = norm(grad);
  MINIDL_CHECK(std::isfinite(value) && std::isfinite(length),
               "[lbfgs] the loss ({}) or its gradient (length {}) is not finite at the starting point; start elsewhere",
               value, length);
  loss = value;
  grad_norm = length;
  gradient = std::move(grad);
  restart();
}

/// The next direction is the negative gradient, preconditioned, with the root mean square length that the settings ask
/// for.
void Lbfgs::Impl::restart() {
  const double length = settings.first_step * std::sqrt(static_cast<double>(parameter.count()));
  history.restart(grad_norm > 0 ? length / norm(history.precondition(gradient)) : 1);
}

LbfgsReport Lbfgs::Impl::step(const Evaluate& evaluate) {
  LbfgsReport report;
  if (!gradient) {
    evaluate_start(evaluate);
    report.evaluations = 1;
  }
  bool moved = false;
  if (grad_norm > 0) {
    Outcome outcome = search(evaluate, report);
    if (outcome != Outcome::moved && !history.empty()) {
      add_note(report.note, outcome == Outcome::failed
                                ? "the line search failed: history dropped, restarted along the negative gradient"
                                : "the direction did not descend: history dropped");
      restart();
      outcome = search(evaluate, report);
    }
    moved = outcome == Outcome::moved;
  }
  if (!moved) {
    report.converged = true;
    add_note(report.note,
             grad_norm > 0 ? "no step along the negative gradient lowers the loss" : "the gradient is zero");
  }
  report.loss = loss;
  report.grad_norm = grad_norm;
  return report;
}

bool Lbfgs::Impl::descends(double slope, double direction_norm) const {
  const bool steep = slope < -kMinDescent * grad_norm * direction_norm;  // false for NaN
  return std::isfinite(slope) && (steep || (history.empty() && slope < 0));
}

/// Evaluates at the parameter and measures everything that a decision about this point could need; all numbers of the
/// search.
std::vector<double> Lbfgs::Impl::try_point(const Evaluate& evaluate, const Tensor& start, const Tensor& direction,
                                           const Numbers& numbers, Trial& trial) {
  trial.loss = evaluate_here(evaluate, trial.gradient);
  Tensor products = numbers.point();
  trial.pair = history.measure({parameter, start, trial.gradient, gradient, direction}, products);
  std::vector<double> values = numbers.read();
  trial.products = PointProducts::from(values.data() + Numbers::kDirection);
  return values;
}

/// Searches along -H gradient and moves to the best point. The parameter is as before unless it moved.
Lbfgs::Impl::Outcome Lbfgs::Impl::search(const Evaluate& evaluate, LbfgsReport& report) {
  const Tensor start = parameter.clone();
  Tensor direction = Tensor::empty(parameter.shape(), Dtype::f32, parameter.device());
  const Numbers numbers(parameter.device());
  Tensor of_direction = numbers.direction();
  const auto is_usable = [&](const std::vector<double>& values) { return descends(values[0], std::sqrt(values[1])); };

  std::optional<LineSearch> line;
  Trial trial, best;
  bool is_best = false;
  try {
    history.apply({gradient, start, direction, parameter, of_direction});
    // A device is not waited for, at the price of an evaluation in the rare case of a direction that does not descend.
    if (parameter.device() == Device::cpu() && !is_usable(numbers.read())) {
      parameter.copy_from(start);
      return Outcome::does_not_descend;
    }
    while (!line || !line->finished()) {
      for (Trial* earlier : {&trial, &best}) earlier->pair = {};  // an evaluation may need the memory
      // The first point, at a step of 1, was written with the direction.
      if (line) add_scaled(1.0f, start, static_cast<float>(line->next_step()), direction, parameter);
      const std::vector<double> values = try_point(evaluate, start, direction, numbers, trial);
      ++report.evaluations;
      if (!line && !is_usable(values)) {
        parameter.copy_from(start);
        return Outcome::does_not_descend;
      }
      if (!line) line.emplace(search_settings, loss, values[0]);
      is_best = line->add(trial.loss, trial.products.slope);
      if (is_best) std::swap(trial, best);
    }
  } catch (...) {
    parameter.copy_from(start);
    throw;
  }
  report.step = line->best().step;
  if (line->not_finite() > 0) {
    report.not_finite = true;
    add_note(report.note, "a loss or gradient was not finite: step shortened");
  }
  if (!best.gradient) {
    parameter.copy_from(start);
    return Outcome::failed;
  }
  if (!is_best) {
    add_scaled(1.0f, start, static_cast<float>(report.step), direction, parameter);
    best.pair = {difference(parameter, start), difference(best.gradient, gradient), {}};
  }
  history.add(best.pair, best.products);
  loss = best.loss;
  grad_norm = std::sqrt(best.products.gradient_square);
  gradient = std::move(best.gradient);
  return Outcome::moved;
}

Lbfgs::Lbfgs(Tensor parameter, LbfgsSettings settings) {
  MINIDL_CHECK(parameter && parameter.dtype() == Dtype::f32 && parameter.count() > 0,
               "[lbfgs] the parameter has shape {} and type {}; it must be f32 with at least one element",
               parameter.shape(), to_string(parameter.dtype()));
  MINIDL_CHECK(settings.first_step > 0 && std::isfinite(settings.first_step),
               "[lbfgs] first_step is {}, it must be positive", settings.first_step);
  impl_ = std::make_unique<Impl>(std::move(parameter), settings);
}

Lbfgs::~Lbfgs() = default;
Lbfgs::Lbfgs(Lbfgs&&) noexcept = default;

LbfgsReport Lbfgs::step(const Evaluate& evaluate) {
  return impl_->step(evaluate);
}
const Tensor& Lbfgs::parameter() const {
  return impl_->parameter;
}
const Tensor& Lbfgs::gradient() const {
  return impl_->gradient;
}

void Lbfgs::reset() {
  impl_->history.restart(1);
  impl_->gradient = Tensor();
}

State Lbfgs::state() const {
  State state;
  if (!impl_->gradient) return state;
  const std::vector<Tensor>&s = impl_->history.s(), &y = impl_->history.y();
  Tensor scalars = Tensor::empty({3}, Dtype::f64);
  double* values = scalars.data<double>();
  values[0] = impl_->loss;
  values[1] = impl_->history.scale();
  values[2] = static_cast<double>(s.size());
  state["scalars"] = scalars;
  state["gradient"] = impl_->gradient.clone();
  for (size_t i = 0; i < s.size(); ++i) {
    state["s." + std::to_string(i)] = s[i];
    state["y." + std::to_string(i)] = y[i];
  }
  return state;
}

void Lbfgs::load_state(const State& state) {
  reset();
  if (state.empty()) return;
  const Shape& shape = impl_->parameter.shape();
  const double* values = state_entry(state, "scalars", {3}, Dtype::f64, "lbfgs").data<double>();
  MINIDL_CHECK(
      std::isfinite(values[0]) && std::isfinite(values[1]) && values[1] > 0 && values[2] >= 0 && values[2] <= 1e6,
      "[lbfgs] the state has loss {}, scale {} and {} pairs", values[0], values[1], values[2]);
  const auto pairs = static_cast<int64_t>(values[2]);
  const Device device = impl_->parameter.device();
  const auto vector = [&](const std::string& name) {
    const auto entry = state.find(name);
    const bool rounded = entry != state.end() && entry->second && entry->second.dtype() == Dtype::bf16;
    return state_entry(state, name, shape, rounded ? Dtype::bf16 : Dtype::f32, "lbfgs").to(device);
  };
  const LbfgsSettings& settings = impl_->settings;
  LbfgsHistory history(settings.history, settings.preconditioner, settings.history_dtype);
  history.restart(values[1]);
  for (int64_t i = 0; i < pairs; ++i) {
    const std::string index = std::to_string(i);
    const Tensor s = vector("s." + index);
    const bool is_rounded_now = s.dtype() != settings.history_dtype;  // which may cost it its curvature
    const bool kept = history.add(s, vector("y." + index)) || is_rounded_now;
    MINIDL_CHECK(kept, "[lbfgs] pair {} of the state has no positive curvature", i);
  }
  const Tensor& gradient = state_entry(state, "gradient", shape, Dtype::f32, "lbfgs");
  const double grad_norm = norm(gradient);
  MINIDL_CHECK(std::isfinite(grad_norm), "[lbfgs] the gradient of the state is not finite");
  impl_->gradient = gradient.clone().to(device);
  impl_->grad_norm = grad_norm;
  impl_->loss = values[0];
  impl_->history = std::move(history);
}

}  // namespace minidl::optim
