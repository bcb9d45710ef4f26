#include <minidl/apps/fast_style_objective.h>
#include <minidl/layers/ops.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace minidl {
namespace {

constexpr std::array<float, 3> kLuminance = {0.299f, 0.587f, 0.114f};  // ITU-R BT.601

Tensor luminance_filter() {
  Tensor filter = Tensor::empty({3, 1, 1, 3});
  const std::span<float> values = filter.span<float>();
  for (size_t i = 0; i < values.size(); ++i) values[i] = kLuminance[i % 3];
  return filter;
}

std::vector<std::string> names_of(const std::vector<layers::WeightedLayer>& layers) {
  std::vector<std::string> names;
  for (const layers::WeightedLayer& layer : layers) names.push_back(layer.name);
  return names;
}

}  // namespace

FastStyleObjective::FastStyleObjective(layers::Vgg& network, const FastStyleSettings& settings,
                                       const std::vector<Tensor>& styles)
    : network_(network),
      settings_(settings),
      content_taps_(names_of(settings.content_layers)),
      taps_(settings.taps()),
      luminance_(luminance_filter()) {
  MINIDL_CHECK(!styles.empty(), "[fast_style] there is no style picture");
  const std::vector<std::string> style_taps = names_of(settings.style_layers);
  for (const Tensor& style : styles) {
    MINIDL_CHECK(style.shape().rank() == 4 && style.shape()[0] == 1 && style.shape()[3] == 3,
                 "[fast_style] a style picture has shape {}, it must be [1, height, width, 3]", style.shape());
    std::map<std::string, Tensor>& grams = grams_.emplace_back();
    for (const auto& [name, features] : network_(seen(Variable(style)), style_taps))
      grams[name] = ops::gram_per_position(features.value());
  }
}

Variable FastStyleObjective::seen(const Variable& picture) const {
  return settings_.original_colors ? ops::conv2d(picture, luminance_, Variable(), {}) : picture;
}

Variable FastStyleObjective::loss(const Variable& output, const Tensor& photos, int style, FastStyleLosses& losses) {
  MINIDL_CHECK(output.shape() == photos.shape(), "[fast_style] the net's pictures have shape {}, the photos {}",
               output.shape(), photos.shape());
  losses = {};
  Variable total;
  const auto add = [&](const Variable& term, double weight, double& part) {
    part += weight * term.value().item();
    if (weight == 0) return;
    const Variable weighted = static_cast<float>(weight) * term;
    total = total ? total + weighted : weighted;
  };
  std::map<std::string, Tensor> targets;
  for (const auto& [name, features] : network_(seen(Variable(photos)), content_taps_)) targets[name] = features.value();

  std::map<std::string, Variable> features = network_(seen(output), taps_);
  const double feature_scale =
      settings_.input_unit > 0 ? settings_.input_unit / network_.description().input_unit : 1.0;
  for (const layers::WeightedLayer& layer : settings_.content_layers) {
    const Tensor& target = targets.at(layer.name);
    const auto factor = static_cast<float>(content_factor(settings_.form, target) / std::pow(feature_scale, 2));
    const Variable term = ops::content_loss(features.at(layer.name), target, factor);
    losses.content_layers[layer.name] = term.value().item();
    add(term, settings_.alpha * layer.weight, losses.content);
  }
  for (const layers::WeightedLayer& layer : settings_.style_layers) {
    const Tensor& target = grams_.at(static_cast<size_t>(style)).at(layer.name);
    const auto factor = static_cast<float>(style_factor(settings_.form, target) / std::pow(feature_scale, 4));
    const Variable term = ops::style_loss(features.at(layer.name), target, factor);
    losses.style_layers[layer.name] = term.value().item();
    add(term, settings_.beta * layer.weight, losses.style);
  }
  features.clear();
  if (settings_.tv > 0) {
    const auto kind =
        settings_.form == LossForm::mean ? ops::TotalVariationKind::interior : ops::TotalVariationKind::full;
    const auto factor = static_cast<float>(total_variation_factor(settings_.form, output.shape()));
    add(ops::total_variation(output, factor, kind), settings_.tv, losses.tv);
  }
  losses.total = losses.content + losses.style + losses.tv;
  return total;
}

}  // namespace minidl
