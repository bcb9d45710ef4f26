#include <fmt/format.h>
#include <minidl/apps/fast_style_settings.h>
#include <minidl/layers/transform_net_weights.h>
#include <minidl/optim/schedule.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace minidl {
namespace {

constexpr int64_t kMostSteps = 1'000'000'000;
constexpr int64_t kLargestBatch = 1024;
constexpr int64_t kMicroBatch = 2;  // half the memory of four at once, and quicker on a CPU: features stay in its cache
constexpr int64_t kSmallestSize = 32, kLargestSize = 4096;
constexpr float kLastRate = 0.01f;  // of a cosine, as a share of the first
constexpr float kStepFactor = 0.3f;
constexpr int64_t kStepParts = 3;

FastStyleSettings paper_preset() {
  FastStyleSettings settings;
  settings.net.upsample = layers::UpsampleKind::fractional;
  settings.net.output_range = layers::OutputRange::tanh;
  settings.form = LossForm::mean;
  for (layers::WeightedLayer& layer : settings.style_layers) layer.weight = 1.0;
  settings.beta = 5.0;
  settings.tv = 1e-6;
  settings.steps = 40000;
  settings.lr = 1e-3f;
  settings.schedule = LrSchedule::constant;
  return settings;
}

FastStyleSettings pytorch_examples_preset() {
  FastStyleSettings settings = paper_preset();
  settings.net = {};
  settings.content_layers = {{"relu2_2", 1.0}};
  settings.alpha = 1e5;
  settings.beta = 1e10;
  settings.tv = 0.0;
  settings.input_unit = layers::kTorchvisionInputUnit;
  return settings;
}

void check_layers(const layers::Vgg& network, const std::vector<layers::WeightedLayer>& layers, const char* what) {
  for (const layers::WeightedLayer& layer : layers) {
    network.description().index_of_tap(layer.name);
    MINIDL_CHECK(std::isfinite(layer.weight) && layer.weight >= 0,
                 "[fast_style] the weight of {} layer '{}' is {}; it must be a number >= 0", what, layer.name,
                 layer.weight);
  }
}

std::string layers_text(const std::vector<layers::WeightedLayer>& layers) {
  std::string text;
  for (const layers::WeightedLayer& layer : layers) text += fmt::format("{}:{},", layer.name, layer.weight);
  return text;
}

std::string net_text(const layers::TransformNetOptions& options) {
  std::string text;
  for (const auto& [name, value] : layers::to_text(options)) text += fmt::format("{} {} ", name, value);
  return text;
}

}  // namespace

std::vector<std::string> FastStyleSettings::preset_names() {
  return {"default", "paper", "pytorch-examples"};
}

FastStyleSettings FastStyleSettings::preset(std::string_view name) {
  if (name == "default") return {};
  if (name == "paper") return paper_preset();
  if (name == "pytorch-examples") return pytorch_examples_preset();
  fail("[fast_style] there is no preset '{}'; use default, paper or pytorch-examples", name);
}

void FastStyleSettings::check(const layers::Vgg& network) const {
  const auto check_number = [](double value, double least, double most, const char* name) {
    MINIDL_CHECK(value >= least && value <= most, "[fast_style] {} is {}; it must be a number from {} to {}", name,
                 value, least, most);
  };
  constexpr double kAny = std::numeric_limits<float>::max();  // what the gradient is computed with
  check_layers(network, content_layers, "content");
  check_layers(network, style_layers, "style");
  MINIDL_CHECK(!taps().empty(), "[fast_style] there is neither a content nor a style layer");
  check_number(alpha, 0, kAny, "alpha");
  check_number(beta, 0, kAny, "beta");
  check_number(tv, 0, kAny, "tv");
  MINIDL_CHECK(alpha > 0 || beta > 0 || tv > 0, "[fast_style] alpha, beta and tv are 0: there is nothing to learn");
  check_number(input_unit, 0, kAny, "input_unit");
  check_number(static_cast<double>(steps), 1, kMostSteps, "steps");
  check_number(static_cast<double>(batch), 1, kLargestBatch, "batch");
  check_number(static_cast<double>(micro_batch), 0, kLargestBatch, "micro_batch");
  MINIDL_CHECK(at_once() == batch || net.norm != layers::NormKind::batch,
               "[fast_style] micro_batch is {} of {} photos; batch normalisation needs all of them at once",
               micro_batch, batch);
  check_number(static_cast<double>(size), kSmallestSize, kLargestSize, "size");
  MINIDL_CHECK(std::isfinite(lr) && lr > 0, "[fast_style] lr is {}; it must be positive", lr);
  check_number(static_cast<double>(warm_up), 0, static_cast<double>(steps), "warm_up");
  check_number(weight_decay, 0, kAny, "weight_decay");
  check_number(clip_norm, 0, kAny, "clip_norm");
}

std::vector<std::string> FastStyleSettings::taps() const {
  std::vector<std::string> names;
  for (const auto* layers : {&content_layers, &style_layers}) {
    for (const layers::WeightedLayer& layer : *layers) {
      if (std::find(names.begin(), names.end(), layer.name) == names.end()) names.push_back(layer.name);
    }
  }
  return names;
}

int64_t FastStyleSettings::at_once() const {
  if (micro_batch == 0 && net.norm == layers::NormKind::batch) return batch;
  return std::min(batch, micro_batch == 0 ? kMicroBatch : micro_batch);
}

float FastStyleSettings::lr_at(int64_t step) const {
  const auto rates = [&]() -> optim::Schedule {
    switch (schedule) {
      case LrSchedule::constant:
        break;
      case LrSchedule::cosine:
        return optim::cosine(lr, steps, kLastRate * lr);
      case LrSchedule::steps:
        return optim::step_decay(lr, (steps + kStepParts - 1) / kStepParts, kStepFactor);
    }
    return optim::constant(lr);
  };
  return optim::linear_warm_up(warm_up, rates())(step);
}

std::string FastStyleSettings::fingerprint() const {
  return fmt::format(
      "{}form {} content {} style {} alpha {} beta {} tv {} original_colors {} input_unit {} steps {} batch {} "
      "micro_batch {} size {} lr {} schedule {} warm_up {} weight_decay {} clip_norm {} seed {}",
      net_text(net), static_cast<int>(form), layers_text(content_layers), layers_text(style_layers), alpha, beta, tv,
      original_colors, input_unit, steps, batch, at_once(), size, lr, static_cast<int>(schedule), warm_up, weight_decay,
      clip_norm, seed);
}

}  // namespace minidl
