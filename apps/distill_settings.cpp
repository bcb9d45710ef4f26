#include <fmt/format.h>
#include <fmt/ranges.h>
#include <minidl/apps/distill_settings.h>
#include <minidl/optim/schedule.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace minidl {
namespace {

constexpr int64_t kMostSteps = 1'000'000'000;
constexpr int64_t kLargestBatch = 1024, kLargestPool = 100'000, kMostIterations = 10'000;
constexpr int64_t kSmallestSize = 32, kLargestSize = 4096;
constexpr float kLastRate = 0.01f;  // as a share of the first

std::string layers_text(const std::vector<layers::WeightedLayer>& layers) {
  std::string text;
  for (const layers::WeightedLayer& layer : layers) text += fmt::format("{}:{},", layer.name, layer.weight);
  return text;
}

}  // namespace

void DistillSettings::check(const layers::Vgg& teacher) const {
  const auto check_number = [](double value, double least, double most, const char* name) {
    MINIDL_CHECK(value >= least && value <= most, "[distill] {} is {}; it must be a number from {} to {}", name, value,
                 least, most);
  };
  constexpr double kAny = std::numeric_limits<float>::max();
  MINIDL_CHECK(!teacher.description().is_student(),
               "[distill] the teacher is a student itself: it has only predictions of its teacher's features");
  const layers::NetworkDescription shape = layers::student_description(student);
  MINIDL_CHECK(!taps().empty(), "[distill] there is neither a content nor a style layer");
  for (const auto* list : {&content_layers, &style_layers}) {
    for (const layers::WeightedLayer& layer : *list) {
      teacher.description().index_of_tap(layer.name);
      const size_t own = shape.index_of(layer.name);
      MINIDL_CHECK(shape.layers[own].kind == layers::LayerDescription::Kind::relu,
                   "[distill] a student stands for ReLU layers; '{}' is none", layer.name);
      check_number(layer.weight, 0, kAny, ("the weight of layer " + layer.name).c_str());
    }
  }
  check_number(feature_weight, 0, kAny, "feature_weight");
  check_number(gram_weight, 0, kAny, "gram_weight");
  MINIDL_CHECK(feature_weight > 0 || gram_weight > 0,
               "[distill] feature_weight and gram_weight are 0: there is nothing to learn");
  check_number(static_cast<double>(steps), 1, kMostSteps, "steps");
  check_number(static_cast<double>(batch), 1, kLargestBatch, "batch");
  check_number(static_cast<double>(on_policy), 0, static_cast<double>(batch), "on_policy");
  check_number(static_cast<double>(size), kSmallestSize, kLargestSize, "size");
  check_number(static_cast<double>(pretraining), 0, kMostSteps, "pretraining");
  check_number(static_cast<double>(pool), 1, kLargestPool, "pool");
  check_number(static_cast<double>(pool_iterations), 1, kMostIterations, "pool_iterations");
  check_number(static_cast<double>(pool_turns), 1, kMostIterations, "pool_turns");
  check_number(alpha, 0, kAny, "alpha");
  check_number(beta, 0, kAny, "beta");
  check_number(tv, 0, kAny, "tv");
  check_number(photo_styles, 0, 1, "photo_styles");
  MINIDL_CHECK(std::isfinite(lr) && lr > 0, "[distill] lr is {}; it must be positive", lr);
  check_number(static_cast<double>(warm_up), 0, kMostSteps, "warm_up");
  check_number(clip_norm, 0, kAny, "clip_norm");
}

std::vector<std::string> DistillSettings::taps() const {
  std::vector<std::string> names;
  for (const auto* layers : {&style_layers, &content_layers}) {
    for (const layers::WeightedLayer& layer : *layers) {
      if (std::find(names.begin(), names.end(), layer.name) == names.end()) names.push_back(layer.name);
    }
  }
  return names;
}

float DistillSettings::lr_at(int64_t step) const {
  return optim::linear_warm_up(warm_up, optim::cosine(lr, steps, kLastRate * lr))(step);
}

std::string DistillSettings::fingerprint() const {
  const char* pooling = !teacher_pooling ? "file" : *teacher_pooling == PoolKind::max ? "max" : "average";
  return fmt::format(
      "widths {} convolutions {} pooling {} content {} style {} teacher_pooling {} teacher_precision {} "
      "student_precision {} feature_weight {} gram_weight {} steps {} batch {} on_policy {} size {} pretraining {} "
      "pool {} pool_iterations {} pool_turns {} alpha {} beta {} tv {} photo_styles {} lr {} warm_up {} clip_norm {} "
      "fit_teacher {} seed {}",
      fmt::join(student.widths, ","), fmt::join(student.convolutions, ","),
      student.pooling == PoolKind::max ? "max" : "average", layers_text(content_layers), layers_text(style_layers),
      pooling, to_string(teacher_precision), to_string(student_precision), feature_weight, gram_weight, steps, batch,
      on_policy, size, pretraining, pool, pool_iterations, pool_turns, alpha, beta, tv, photo_styles, lr, warm_up,
      clip_norm, fit_teacher, seed);
}

}  // namespace minidl
