#include <minidl/apps/gatys_stepper.h>
#include <minidl/core/image.h>
#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/reduce.h>
#include <minidl/optim/adam.h>
#include <minidl/optim/lbfgs.h>
#include <minidl/optim/sgd.h>

#include <algorithm>
#include <cmath>

namespace minidl {
namespace {

// So many steps, each a tenth of the one before, without a finite loss say that the cause is not the step.
constexpr int kMostRecoveries = 40;

[[noreturn]] void fail_at_start(const GatysLosses& losses) {
  fail("[gatys] the {} is not finite at the starting picture; give it a smaller weight or start elsewhere",
       name_of_bad_term(losses));
}

class LbfgsStepper final : public GatysStepper {
 public:
  LbfgsStepper(const GatysSettings& settings, GatysObjective& objective, const Tensor& picture)
      : objective_(objective),
        lbfgs_(picture, {.history = settings.history_for(picture.count()),
                         .preconditioner = optim::smoothing(),
                         .history_dtype = GatysSettings::kHistoryDtype}) {}

  Step step() override {
    std::vector<GatysLosses> tried;
    std::string bad_term;
    const auto evaluate = [&](const Tensor& picture, Tensor& gradient) {
      Tensor computed;
      tried.push_back(objective_.evaluate(picture, &computed));
      gradient.copy_from(computed);
      const bool at_start = !lbfgs_.gradient();  // what comes later, the line search looks at
      const bool finite = std::isfinite(tried.back().objective) && !(at_start && !all_finite(computed));
      if (!finite && at_start) fail_at_start(tried.back());
      if (!finite && bad_term.empty()) bad_term = name_of_bad_term(tried.back());
      return tried.back().objective;
    };
    const optim::LbfgsReport report = lbfgs_.step(evaluate);
    const auto at_picture = [&](const GatysLosses& losses) { return losses.objective == report.loss; };
    const auto found = std::find_if(tried.begin(), tried.end(), at_picture);
    if (found != tried.end()) losses_ = *found;
    // No step was taken, and the losses of where it was are not known after a state was loaded.
    if (!at_picture(losses_)) losses_ = objective_.evaluate(lbfgs_.parameter(), nullptr);
    std::string note = report.note;
    if (report.not_finite && bad_term.empty()) bad_term = name_of_bad_term(tried.back());
    if (!bad_term.empty()) note += (note.empty() ? "" : "; ") + ("not finite: " + bad_term);
    return {losses_, report.grad_norm, report.evaluations, report.converged, note};
  }
  optim::State state() const override { return lbfgs_.state(); }
  void load_state(const optim::State& state) override { lbfgs_.load_state(state); }

 private:
  GatysObjective& objective_;
  optim::Lbfgs lbfgs_;
  GatysLosses losses_;  // of the picture as it is
};

/// Adam or SGD. SGD's gradient is divided by the root mean square of the first one at this scale, so that its rate is
/// in levels of 0..255 whatever the loss is measured in; Adam needs no such thing.
class FirstOrderStepper final : public GatysStepper {
 public:
  FirstOrderStepper(const GatysSettings& settings, GatysObjective& objective, const Tensor& picture)
      : objective_(objective), variable_(picture, true), is_sgd_(settings.optimizer == GatysOptimizer::sgd) {
    const auto lr = static_cast<float>(settings.lr_or_default());
    if (is_sgd_) {
      optimizer_ = std::make_unique<optim::Sgd>(
          std::vector{variable_}, optim::SgdSettings{.lr = lr, .momentum = static_cast<float>(settings.momentum)});
    } else {
      optimizer_ = std::make_unique<optim::Adam>(std::vector{variable_}, AdamSettings{.lr = lr});
    }
  }

  Step step() override {
    Step result;
    if (!variable_.grad()) evaluate_start(result);
    const Tensor last_good = variable_.value().clone();
    Tensor gradient;
    for (int recoveries = 0;; ++recoveries) {
      optimizer_->step();
      result.losses = objective_.evaluate(variable_.value(), &gradient);
      ++result.evaluations;
      result.grad_norm = std::sqrt(squared_norm(gradient));
      if (std::isfinite(result.losses.objective) && std::isfinite(result.grad_norm)) break;
      const std::string term = name_of_bad_term(result.losses);
      MINIDL_CHECK(recoveries < kMostRecoveries, "[gatys] the {} is not finite, and smaller steps did not help", term);
      // The moments see the same gradient once more, which does them no harm.
      optimizer_->set_lr(optimizer_->lr() * 0.1f);
      variable_.mutable_value().copy_from(last_good);
      result.note = "the " + term + " is not finite: went back to the last good picture with a tenth of the step";
    }
    keep(std::move(gradient));
    return result;
  }

  optim::State state() const override {
    optim::State state = optimizer_->state();
    Tensor numbers = Tensor::empty({2}, Dtype::f64);
    numbers.data<double>()[0] = optimizer_->lr();
    numbers.data<double>()[1] = first_rms_;
    state["stepper"] = numbers;
    if (variable_.grad()) state["gradient"] = variable_.grad().clone();
    return state;
  }
  void load_state(const optim::State& state) override {
    optim::State rest = state;
    const auto numbers = rest.extract("stepper"), gradient = rest.extract("gradient");
    MINIDL_CHECK(numbers && numbers.mapped().count() == 2 && numbers.mapped().dtype() == Dtype::f64,
                 "[gatys] the saved state lacks the optimiser's numbers");
    MINIDL_CHECK(
        !gradient || (gradient.mapped().shape() == variable_.shape() && gradient.mapped().dtype() == Dtype::f32),
        "[gatys] the saved gradient has shape {}, the picture {}", gradient.mapped().shape(), variable_.shape());
    optimizer_->load_state(rest);
    const Tensor& values = numbers.mapped();
    optimizer_->set_lr(static_cast<float>(values.data<double>()[0]));
    first_rms_ = values.data<double>()[1];
    if (gradient) variable_.mutable_grad() = gradient.mapped().to(variable_.value().device());
  }
  optim::State moments() const override { return is_sgd_ ? optim::State{} : state(); }
  void carry_over(optim::State moments) override {
    const auto numbers = moments.extract("stepper");
    if (!numbers) return;
    moments.erase("gradient");
    const Shape& shape = variable_.shape();
    for (auto& [name, tensor] : moments) {
      // Area averaging and linear growth keep second moments from becoming negative.
      if (tensor.shape().rank() == 4)
        tensor = resize_image(tensor.to(Device::cpu()), shape[1], shape[2], ResizeFilter::area);
    }
    optimizer_->load_state(moments);
    optimizer_->set_lr(static_cast<float>(numbers.mapped().data<double>()[0]));
  }

 private:
  void evaluate_start(Step& result) {
    Tensor gradient;
    result.losses = objective_.evaluate(variable_.value(), &gradient);
    ++result.evaluations;
    const double norm = std::sqrt(squared_norm(gradient));
    if (!std::isfinite(result.losses.objective) || !std::isfinite(norm)) fail_at_start(result.losses);
    if (is_sgd_) first_rms_ = norm / std::sqrt(static_cast<double>(gradient.count()));
    keep(std::move(gradient));
  }
  /// For the next step.
  void keep(Tensor gradient) {
    if (first_rms_ > 0) affine(static_cast<float>(1.0 / first_rms_), gradient, 0.0f, gradient);
    variable_.mutable_grad() = std::move(gradient);
  }

  GatysObjective& objective_;
  Variable variable_;
  bool is_sgd_;
  std::unique_ptr<optim::Optimizer> optimizer_;
  double first_rms_ = 0;  // of SGD
};

}  // namespace

std::unique_ptr<GatysStepper> GatysStepper::make(const GatysSettings& settings, GatysObjective& objective,
                                                 Tensor picture) {
  if (settings.optimizer == GatysOptimizer::lbfgs) return std::make_unique<LbfgsStepper>(settings, objective, picture);
  return std::make_unique<FirstOrderStepper>(settings, objective, picture);
}

std::string name_of_bad_term(const GatysLosses& losses) {
  for (const auto& [name, value] : losses.content_layers) {
    if (!std::isfinite(value)) return "content loss of " + name;
  }
  for (const auto& [name, value] : losses.style_layers) {
    if (!std::isfinite(value)) return "style loss of " + name;
  }
  if (!std::isfinite(losses.tv)) return "total variation";
  return std::isfinite(losses.objective) ? "gradient" : "weighted loss";
}

}  // namespace minidl
