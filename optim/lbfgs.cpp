#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/reduce.h>
#include <minidl/optim/lbfgs.h>
#include <minidl/optim/lbfgs_history.h>
#include <minidl/optim/line_search.h>

#include <cmath>
#include <utility>

namespace minidl::optim {
namespace {

constexpr double kMinDescent = 1e-10;  // of -slope, relative to ||gradient|| ||direction||

void add_note(std::string& note, const std::string& text) {
  note += (note.empty() ? "" : "; ") + text;
}

double norm(const Tensor& x) {
  return std::sqrt(squared_norm(x));
}

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
  double choose_direction(Tensor& direction, std::string& note);
  bool move_along(const Tensor& direction, double slope, const Evaluate& evaluate, LbfgsReport& report);
  void accept(const LinePoint& point, Tensor start, Tensor new_gradient);

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
    Tensor direction = Tensor::empty(parameter.shape(), Dtype::f32, parameter.device());
    double slope = choose_direction(direction, report.note);
    moved = move_along(direction, slope, evaluate, report);
    if (!moved && !history.empty()) {
      add_note(report.note, "the line search failed: history dropped, restarted along the negative gradient");
      restart();
      slope = choose_direction(direction, report.note);
      moved = move_along(direction, slope, evaluate, report);
    }
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

/// Writes -H gradient and returns its product with the gradient.
double Lbfgs::Impl::choose_direction(Tensor& direction, std::string& note) {
  history.apply(gradient, direction);
  const double slope = dot(gradient, direction);
  const bool descends = slope < -kMinDescent * grad_norm * norm(direction);  // false for NaN
  if (descends || history.empty()) return slope;
  add_note(note, "the direction did not descend: history dropped");
  restart();
  history.apply(gradient, direction);
  return dot(gradient, direction);
}

/// Searches along the direction and moves to the best point. False, with the parameter as before, when no step lowers
/// the loss.
bool Lbfgs::Impl::move_along(const Tensor& direction, double slope, const Evaluate& evaluate, LbfgsReport& report) {
  if (!std::isfinite(slope) || slope >= 0) return false;
  LineSearch search(search_settings, loss, slope);
  const Tensor start = parameter.clone();
  Tensor trial, best;
  bool is_best = false;
  try {
    while (!search.finished()) {
      add_scaled(1.0f, start, static_cast<float>(search.next_step()), direction, parameter);
      const double trial_loss = evaluate_here(evaluate, trial);
      is_best = search.add(trial_loss, dot(trial, direction));
      if (is_best) std::swap(trial, best);
    }
  } catch (...) {
    parameter.copy_from(start);
    throw;
  }
  report.evaluations += search.evaluations();
  report.step = search.best().step;
  if (search.not_finite() > 0) add_note(report.note, "a loss or gradient was not finite: step shortened");
  if (!best) {
    parameter.copy_from(start);
    return false;
  }
  if (!is_best) add_scaled(1.0f, start, static_cast<float>(search.best().step), direction, parameter);
  accept(search.best(), start, std::move(best));
  return true;
}

/// The parameter is at `point`: the old position and gradient become the new curvature pair in place.
void Lbfgs::Impl::accept(const LinePoint& point, Tensor start, Tensor new_gradient) {
  add_scaled(1.0f, parameter, -1.0f, start, start);
  add_scaled(1.0f, new_gradient, -1.0f, gradient, gradient);
  history.add(std::move(start), std::move(gradient));
  gradient = std::move(new_gradient);
  loss = point.loss;
  grad_norm = norm(gradient);
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
