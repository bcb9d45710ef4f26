#include <minidl/apps/gatys_settings.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace minidl {
namespace {

constexpr int64_t kLargestSize = 32768;
constexpr int kMostScales = 16;
constexpr int kMostIterations = 100'000'000;  // of all scales together they are an int
// L-BFGS keeps 2 * history pictures: a long memory pays where pictures are small, and must not crowd out the features
// where they are large.
constexpr int kLongestHistory = 100;
constexpr int64_t kHistoryBytes = int64_t{128} << 20;
constexpr int kShortestHistory = 10;

GatysSettings paper_preset() {
  GatysSettings settings;
  settings.form = LossForm::paper;
  settings.beta = 1000.0;
  settings.tv = 0.0;
  settings.pooling = {};
  settings.init = GatysInit::noise;
  settings.scales = 1;
  settings.iterations = 300;
  return settings;
}

GatysSettings neural_style_preset() {
  GatysSettings settings;
  settings.form = LossForm::mean;
  settings.alpha = 5.0;
  settings.beta = 100.0;
  settings.tv = 1e-3;
  settings.pooling = {};
  // Its program adds the layers' losses without averaging them.
  for (layers::WeightedLayer& layer : settings.style_layers) layer.weight = 1.0;
  settings.init = GatysInit::noise;
  settings.noise_sigma = 0.001;
  settings.scales = 1;
  settings.iterations = 1000;
  settings.history = 100;
  return settings;
}

void check_layers(const layers::Vgg& network, const std::vector<layers::WeightedLayer>& layers, const char* what) {
  for (const layers::WeightedLayer& layer : layers) {
    network.description().index_of_tap(layer.name);
    MINIDL_CHECK(std::isfinite(layer.weight) && layer.weight >= 0,
                 "[gatys] the weight of {} layer '{}' is {}; it must be a number >= 0", what, layer.name, layer.weight);
  }
}

std::string layers_text(const std::vector<layers::WeightedLayer>& layers) {
  std::string text;
  for (const layers::WeightedLayer& layer : layers) text += fmt::format("{}:{},", layer.name, layer.weight);
  return text;
}

}  // namespace

std::vector<std::string> GatysSettings::preset_names() {
  return {"default", "paper", "neural-style"};
}

GatysSettings GatysSettings::preset(std::string_view name) {
  if (name == "default") return {};
  if (name == "paper") return paper_preset();
  if (name == "neural-style") return neural_style_preset();
  fail("[gatys] there is no preset '{}'; use default, paper or neural-style", name);
}

void GatysSettings::check(const layers::Vgg& network) const {
  const auto check_number = [](double value, double least, double most, const char* name) {
    MINIDL_CHECK(value >= least && value <= most, "[gatys] {} is {}; it must be a number from {} to {}", name, value,
                 least, most);
  };
  constexpr double kAny = std::numeric_limits<float>::max();  // what the gradient is computed with
  check_layers(network, content_layers, "content");
  check_layers(network, style_layers, "style");
  MINIDL_CHECK(!taps().empty(), "[gatys] there is neither a content nor a style layer");
  check_number(alpha, 0, kAny, "alpha");
  check_number(beta, 0, kAny, "beta");
  check_number(tv, 0, kAny, "tv");
  check_number(noise_sigma, 0, kAny, "noise_sigma");
  check_number(static_cast<double>(size), 0, kLargestSize, "size");
  check_number(style_scale, 0.01, 100, "style_scale");
  check_number(scales, 1, kMostScales, "scales");
  check_number(iterations, 0, kMostIterations, "iterations");
  check_number(lr, 0, kAny, "lr");
  check_number(momentum, 0, 1, "momentum");
  check_number(history, 0, 10000, "history");
}

std::vector<std::string> GatysSettings::taps() const {
  std::vector<std::string> names;
  for (const auto* layers : {&content_layers, &style_layers}) {
    for (const layers::WeightedLayer& layer : *layers) {
      if (std::find(names.begin(), names.end(), layer.name) == names.end()) names.push_back(layer.name);
    }
  }
  return names;
}

int GatysSettings::history_for(int64_t values) const {
  if (history > 0) return history;
  const int64_t fitting = kHistoryBytes / (2 * values * static_cast<int64_t>(size_of(kHistoryDtype)));
  return static_cast<int>(std::clamp<int64_t>(fitting, kShortestHistory, kLongestHistory));
}

double GatysSettings::lr_or_default() const {
  if (lr > 0) return lr;
  // Adam moves every value by about lr levels of 0..255. SGD's rate is relative: see Gatys.
  return optimizer == GatysOptimizer::adam ? 4.0 : 10.0;
}

std::string GatysSettings::fingerprint() const {
  return fmt::format(
      "form {} content {} style {} alpha {} beta {} tv {} pooling {} normalize {} init {} sigma {} seed {} size {} "
      "style_scale {} scales {} "
      "optimizer {} lr {} momentum {} history {} match_colors {}",
      static_cast<int>(form), layers_text(content_layers), layers_text(style_layers), alpha, beta, tv,
      pooling ? static_cast<int>(*pooling) : -1, normalize_gradients, static_cast<int>(init), noise_sigma, seed, size,
      style_scale, scales, static_cast<int>(optimizer), lr_or_default(), momentum, history,
      static_cast<int>(match_colors));
}

}  // namespace minidl
