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
      unit_scale_(settings.input_unit > 0 ? settings.input_unit / network.description().input_unit : 1.0),
      luminance_(luminance_filter().to(network.device())) {
  MINIDL_CHECK(!styles.empty(), "[fast_style] there is no style picture");
  const std::vector<std::string> style_taps = names_of(settings.style_layers);
  for (const Tensor& style : styles) {
    MINIDL_CHECK(style.shape().rank() == 4 && style.shape()[0] == 1 && style.shape()[3] == 3,
                 "[fast_style] a style picture has shape {}, it must be [1, height, width, 3]", style.shape());
    std::map<std::string, Tensor>& grams = grams_.emplace_back();
    std::map<std::string, double>& factors = style_factors_.emplace_back();
    for (const auto& [name, features] : network_(seen(Variable(style.to(network.device()))), style_taps)) {
      grams[name] = ops::gram_per_position(features.value());
      const FeatureUnits units(network_, name);
      factors[name] = style_factor(settings.form, grams[name], units) * style_share(grams[name], units);
    }
  }
}

Variable FastStyleObjective::seen(const Variable& picture) const {
  return settings_.original_colors ? ops::conv2d(picture, luminance_, Variable(), {}) : picture;
}

FastStyleTargets FastStyleObjective::targets(const Tensor& photos) {
  FastStyleTargets targets;
  targets.photos = photos.shape()[0];
  network_.visit(seen(Variable(photos)), content_taps_, [&](const std::string& name, const Variable& features) {
    targets.content[name] = features.value();
    targets.factors.emplace(name, scaled_content_factor(settings_.form, features.value(), {network_, name},
                                                        1.0 / std::pow(unit_scale_, 2)));
  });
  return targets;
}

Variable FastStyleObjective::loss(const Variable& output, const FastStyleTargets& targets, int64_t first, int style,
                                  std::vector<FastStyleTerm>& terms, float scale) {
  const int64_t pictures = output.shape()[0];
  MINIDL_CHECK(first >= 0 && first + pictures <= targets.photos,
               "[fast_style] the net's pictures {} belong to the photos from {} on, there are {}", output.shape(),
               first, targets.photos);
  const double share = static_cast<double>(pictures) / static_cast<double>(targets.photos);
  // Terms are made as the features pass by, so that none of these is kept longer than its term needs it. They are told
  // their weights, with which their gradients are part of other passes.
  std::map<std::string, float> content_weights, style_weights;
  for (const layers::WeightedLayer& layer : settings_.content_layers)
    content_weights[layer.name] = scale * static_cast<float>(settings_.alpha * layer.weight);
  for (const layers::WeightedLayer& layer : settings_.style_layers)
    style_weights[layer.name] = scale * static_cast<float>(settings_.beta * layer.weight);
  const std::map<std::string, Tensor>& grams = grams_.at(static_cast<size_t>(style));
  const std::map<std::string, double>& style_factors = style_factors_.at(static_cast<size_t>(style));
  std::map<std::string, Variable> content_terms;
  layers::StyleTerms passing;
  network_.visit(seen(output), taps_, [&](const std::string& name, const Variable& features) {
    if (const auto target = targets.content.find(name); target != targets.content.end()) {
      content_terms[name] =
          ops::content_loss(features, target->second.slice(first, first + pictures), targets.factors.at(name),
                            content_weights.at(name));
    }
    if (const auto target = grams.find(name); target != grams.end()) {
      const double factor = share * style_factors.at(name) / std::pow(unit_scale_, 4);
      passing.add(name, {features, target->second, static_cast<float>(factor), style_weights.at(name)});
    }
  });
  const std::map<std::string, Variable> style_terms = passing.finish();
  // On a CUDA device convolutions write last: in the form in which the next one reads.
  if (Tape* const tape = Tape::current(); tape && network_.device().kind == Device::Kind::cuda) {
    for (const auto& [name, term] : content_terms) tape->postpone(term);
  }
  Variable total;
  const auto add = [&](FastStyleTerm::Kind kind, const std::string& layer, const Variable& term, double weight) {
    terms.push_back({kind, layer, term.value(), weight});
    if (weight == 0) return;
    const Variable weighted = static_cast<float>(weight) * term;
    total = total ? total + weighted : weighted;
  };
  for (const layers::WeightedLayer& layer : settings_.content_layers)
    add(FastStyleTerm::Kind::content, layer.name, content_terms.at(layer.name), settings_.alpha * layer.weight);
  for (const layers::WeightedLayer& layer : settings_.style_layers)
    add(FastStyleTerm::Kind::style, layer.name, style_terms.at(layer.name), settings_.beta * layer.weight);
  if (settings_.tv > 0) {
    const auto kind =
        settings_.form == LossForm::mean ? ops::TotalVariationKind::interior : ops::TotalVariationKind::full;
    const double factor = share * total_variation_factor(settings_.form, output.shape());
    add(FastStyleTerm::Kind::tv, "",
        ops::total_variation(output, static_cast<float>(factor), kind, scale * static_cast<float>(settings_.tv)), settings_.tv);
  }
  return total;
}

FastStyleLosses FastStyleObjective::losses_of(const std::vector<FastStyleTerm>& terms) {
  FastStyleLosses losses;
  for (const FastStyleTerm& term : terms) {
    const double value = term.value.item();
    switch (term.kind) {
      case FastStyleTerm::Kind::content:
        losses.content_layers[term.layer] += value;
        losses.content += term.weight * value;
        break;
      case FastStyleTerm::Kind::style:
        losses.style_layers[term.layer] += value;
        losses.style += term.weight * value;
        break;
      case FastStyleTerm::Kind::tv:
        losses.tv += term.weight * value;
        break;
    }
  }
  losses.total = losses.content + losses.style + losses.tv;
  return losses;
}

}  // namespace minidl
