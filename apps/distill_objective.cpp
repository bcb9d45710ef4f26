#include <minidl/apps/distill_objective.h>
#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/precision_scope.h>
#include <minidl/kernels/reduce.h>
#include <minidl/layers/ops.h>

#include <algorithm>
#include <cmath>

namespace minidl {
namespace {

// e and e' as shares of what features of mean square 1 have at least: ||T||^2 is their number, ||G||^2 >= channels.
constexpr double kFlat = 0.05;
constexpr double kSmallestUnit = 1e-6;

double feature_size(const Tensor& features) {
  return squared_norm(features) + kFlat * static_cast<double>(features.count());
}
double gram_size(const Tensor& gram) {
  return squared_norm(gram) + kFlat * static_cast<double>(gram.shape()[2]);
}

}  // namespace

DistillObjective::DistillObjective(layers::Vgg& teacher, const DistillSettings& settings)
    : teacher_(teacher), settings_(settings), taps_(settings.taps()) {
  teacher_.freeze();
  if (settings.teacher_pooling) teacher_.set_pooling(*settings.teacher_pooling);
}

std::map<std::string, double> DistillObjective::units(const Tensor& pictures) {
  const execution::PrecisionScope precision(settings_.teacher_precision);
  std::map<std::string, double> units;
  teacher_.visit(Variable(pictures), taps_, [&](const std::string& tap, const Variable& features) {
    const Tensor& value = features.value();
    units[tap] = std::max(kSmallestUnit, std::sqrt(squared_norm(value) / static_cast<double>(value.count())));
  });
  return units;
}

DistillObjective::Targets DistillObjective::targets(const Tensor& picture, const std::map<std::string, double>& units) {
  const execution::PrecisionScope precision(settings_.teacher_precision);
  Targets targets;
  teacher_.visit(Variable(picture), taps_, [&](const std::string& tap, const Variable& features) {
    Tensor scaled = Tensor::empty(features.shape());
    affine(static_cast<float>(1.0 / units.at(tap)), features.value(), 0.0f, scaled);
    if (settings_.gram_weight > 0) targets.grams[tap] = ops::gram_per_position(scaled);
    targets.features[tap] = std::move(scaled);
  });
  return targets;
}

Variable DistillObjective::loss(DistillStudent& student, const Tensor& picture, const Targets& targets, double share,
                                DistillErrors& errors) const {
  const execution::PrecisionScope precision(settings_.student_precision);
  Variable total;
  const auto add = [&](const Variable& term, double weight, double& error) {
    const double value = term.value().item();
    error += share * value;
    errors.total += share * weight * value;
    if (weight <= 0) return;
    const double bounded = std::isfinite(value) ? std::min(1.0, kLargestTerm / value) : 1.0;
    const Variable weighted = static_cast<float>(share * weight * bounded) * term;
    total = total ? total + weighted : weighted;
  };
  student.visit(picture, [&](const std::string& tap, const Variable& predicted) {
    const Tensor& features = targets.features.at(tap);
    const double feature_factor = 2.0 / feature_size(features);
    add(ops::content_loss(predicted, features, static_cast<float>(feature_factor)), settings_.feature_weight,
        errors.features[tap]);
    if (settings_.gram_weight == 0) return;
    const Tensor& gram = targets.grams.at(tap);
    const double gram_factor = 4.0 * static_cast<double>(gram.count()) / gram_size(gram);
    add(ops::style_loss(predicted, gram, static_cast<float>(gram_factor)), settings_.gram_weight, errors.grams[tap]);
  });
  return total;
}

}  // namespace minidl
