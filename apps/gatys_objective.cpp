#include <minidl/apps/gatys_objective.h>
#include <minidl/core/cuda/recording.h>
#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/gram.h>
#include <minidl/kernels/precision_scope.h>
#include <minidl/kernels/reduce.h>
#include <minidl/layers/ops.h>

#include <algorithm>
#include <cmath>
#include <optional>

namespace minidl {
namespace {

// Keeps a normalised term finite where its gradient is zero.
constexpr double kTiny = 1e-12;

void check_picture(const layers::Vgg& network, const Tensor& picture, const std::vector<std::string>& taps,
                   const std::string& what) {
  MINIDL_CHECK(picture.shape().rank() == 4 && picture.shape()[0] == 1 && picture.shape()[3] == 3,
               "[gatys] the {} has shape {}, it must be [1, height, width, 3]", what, picture.shape());
  MINIDL_CHECK(all_finite(picture), "[gatys] the {} has values that are not finite", what);
  if (taps.empty()) return;
  const auto needs_less = [&](const std::string& a, const std::string& b) {
    return network.smallest_side(a) < network.smallest_side(b);
  };
  const std::string& deepest = *std::max_element(taps.begin(), taps.end(), needs_less);
  const int64_t least = network.smallest_side(deepest);
  MINIDL_CHECK(std::min(picture.shape()[1], picture.shape()[2]) >= least,
               "[gatys] the {} has {} x {} pixels, too few for layer '{}': both sides need at least {}", what,
               picture.shape()[2], picture.shape()[1], deepest, least);
}

}  // namespace

struct GatysObjective::Repeated {
  cuda::Recording recording;
  const void* picture;
  std::string settings;  // of the execution
  Terms terms;           // in the recording's memory
};

GatysObjective::GatysObjective(layers::Vgg& network, const GatysSettings& settings, const Tensor& content,
                               const std::vector<Style>& styles)
    : network_(network), settings_(settings), taps_(settings.taps()), shape_(content.shape()) {
  MINIDL_CHECK(!styles.empty(), "[gatys] there is no style picture");
  check_picture(network, content, taps_, "content picture");
  std::vector<std::string> content_taps;
  for (const layers::WeightedLayer& layer : settings.content_layers) content_taps.push_back(layer.name);
  network.visit(Variable(content.to(network.device())), content_taps,
                [&](const std::string& name, const Variable& features) { content_[name] = features.value(); });

  double weights = 0;
  for (const Style& style : styles) weights += style.weight;
  MINIDL_CHECK(weights > 0, "[gatys] the weights of the style pictures sum to {}; they must be positive", weights);
  for (const Style& style : styles) {
    check_picture(network, style.picture, taps_, "style picture");
    if (settings.style_layers.empty()) continue;
    const StyleTargets targets(network, style.picture.to(network.device()), settings.style_layers);
    const auto share = static_cast<float>(style.weight / weights);
    for (const layers::WeightedLayer& layer : settings.style_layers) {
      Tensor& gram = grams_[layer.name];
      const Tensor& own = targets.gram(layer.name);
      if (!gram) gram = Tensor::zeros(own.shape(), Dtype::f32, own.device());
      add_scaled(1.0f, gram, share, own, gram);
    }
  }
  set_form_factors();
}

GatysObjective::~GatysObjective() = default;

void GatysObjective::set_form_factors() {
  for (const auto& [name, features] : content_)
    factors_["content " + name] = content_factor(settings_.form, features, units_of(name));
  for (const auto& [name, gram] : grams_)
    factors_["style " + name] = style_factor(settings_.form, gram, units_of(name));
  factors_["tv"] = total_variation_factor(settings_.form, shape_);
}

void GatysObjective::set_factors(std::map<std::string, double> factors) {
  factors_ = std::move(factors);
  repeated_.reset();
  loss_scale_ = {};
}

void GatysObjective::set_loss_scale(const LossScale& scale) {
  loss_scale_ = scale;
  repeated_.reset();
}

double GatysObjective::content_weight(const layers::WeightedLayer& layer) const {
  return settings_.alpha * layer.weight * factors_.at("content " + layer.name);
}
double GatysObjective::style_weight(const layers::WeightedLayer& layer) const {
  return settings_.beta * layer.weight * factors_.at("style " + layer.name);
}
double GatysObjective::tv_weight() const {
  return settings_.tv * factors_.at("tv");
}

FeatureUnits GatysObjective::units_of(const std::string& layer) const {
  return {network_, layer};
}
float GatysObjective::paper_factor(const std::string& style_layer) const {
  return static_cast<float>(style_share(grams_.at(style_layer), units_of(style_layer)));
}

GatysLosses GatysObjective::evaluate(const Tensor& picture, Tensor* gradient) {
  MINIDL_CHECK(picture.shape() == shape_, "[gatys] the picture has shape {}, the content {}", picture.shape(), shape_);
  if (gradient && loss_scale_.is_missing()) {
    const execution::PrecisionScope exact(Precision::fp32);
    loss_scale_.choose(max_abs(compute(picture, true).gradient));
    repeated_.reset();
  }
  const bool repeated = gradient && picture.device().kind == Device::Kind::cuda;
  Terms terms = repeated ? repeat(picture) : compute(picture, gradient != nullptr);
  if (gradient) *gradient = terms.gradient;
  return losses_of(terms);
}

GatysObjective::Terms GatysObjective::repeat(const Tensor& picture) {
  const std::string settings = execution::fingerprint();
  if (!repeated_ || repeated_->picture != picture.raw() || repeated_->settings != settings) {
    repeated_.reset();
    repeated_ =
        std::make_unique<Repeated>(Repeated{cuda::Recording(picture.device().index), picture.raw(), settings, {}});
  }
  Terms& terms = repeated_->terms;
  repeated_->recording.run([&] {
    terms = {};  // so that the second evaluation finds the memory as the first did
    terms = compute(picture, true);
  });
  Terms result = terms;
  result.gradient = terms.gradient.clone();  // the next evaluation writes to the same place
  return result;
}

/// Each term as the paper defines it is what is reported; its weight is applied in f64 for the report and on the tape
/// for the gradient. Values of the terms are not read here: they may not have arrived.
GatysObjective::Terms GatysObjective::compute(const Tensor& picture, bool with_gradient) {
  Tape tape;
  Variable total;
  const Variable image(picture, with_gradient);
  std::optional<TapeScope> recording;
  if (with_gradient) recording.emplace(tape);

  // Terms are told the weights that the backward pass gives them, with which their gradients are part of other passes.
  const float scale = loss_scale_.get();
  std::map<std::string, float> content_weights, style_weights;
  for (const layers::WeightedLayer& layer : settings_.content_layers)
    content_weights[layer.name] = scale * static_cast<float>(content_weight(layer));
  for (const layers::WeightedLayer& layer : settings_.style_layers)
    style_weights[layer.name] = scale * static_cast<float>(style_weight(layer));
  std::map<std::string, Variable> content_terms;  // computed as the features pass by
  layers::StyleTerms passing;
  network_.visit(image, taps_, [&](const std::string& name, const Variable& features) {
    if (content_.contains(name)) {
      const auto share = static_cast<float>(content_share(units_of(name)));
      content_terms[name] = ops::content_loss(features, content_.at(name), share, content_weights.at(name));
    }
    if (!grams_.contains(name)) return;
    passing.add(name, {features, grams_.at(name), paper_factor(name), style_weights.at(name)});
  });
  const std::map<std::string, Variable> style_terms = passing.finish();
  for (const auto& [name, term] : style_terms) tape.postpone(term);
  // On a CUDA device convolutions write last: in the form in which the next one reads.
  if (picture.device().kind == Device::Kind::cuda) {
    for (const auto& [name, term] : content_terms) tape.postpone(term);
  }
  Terms terms;
  const auto add = [&](const Variable& term, double weight) {
    if (with_gradient && weight > 0) {
      const Variable weighted = static_cast<float>(weight) * term;
      total = total ? total + weighted : weighted;
    }
    return term.value();
  };
  for (const layers::WeightedLayer& layer : settings_.content_layers)
    terms.content[layer.name] = add(content_terms.at(layer.name), content_weight(layer));
  for (const layers::WeightedLayer& layer : settings_.style_layers)
    terms.style[layer.name] = add(style_terms.at(layer.name), style_weight(layer));
  const auto kind =
      settings_.form == LossForm::mean ? ops::TotalVariationKind::interior : ops::TotalVariationKind::full;
  terms.tv = add(ops::total_variation(image, 1.0f, kind, scale * static_cast<float>(tv_weight())), tv_weight());

  if (with_gradient) {
    recording.reset();
    if (total) tape.backward(total, scale);
    terms.gradient = image.grad() ? image.grad() : Tensor::zeros(shape_, Dtype::f32, picture.device());
    loss_scale_.take_out(terms.gradient);
  }
  return terms;
}

GatysLosses GatysObjective::losses_of(const Terms& terms) const {
  GatysLosses losses;
  for (const layers::WeightedLayer& layer : settings_.content_layers) {
    losses.content_layers[layer.name] = terms.content.at(layer.name).item();
    losses.content += content_weight(layer) * losses.content_layers[layer.name];
  }
  for (const layers::WeightedLayer& layer : settings_.style_layers) {
    losses.style_layers[layer.name] = terms.style.at(layer.name).item();
    losses.style += style_weight(layer) * losses.style_layers[layer.name];
  }
  losses.tv = terms.tv.item();
  losses.tv_term = tv_weight() * losses.tv;
  losses.objective = losses.content + losses.style + losses.tv_term;
  losses.total = settings_.form == LossForm::mean ? losses.content + losses.style : losses.objective;
  return losses;
}

void GatysObjective::normalize_at(const Tensor& picture) {
  repeated_.reset();
  loss_scale_ = {};
  // `scale` times the gradient is that with respect to features in the units of the formulas.
  const auto normalized = [](const Tensor& gradient, double scale) {
    return 1.0 / (absolute_sum(gradient) * scale + kTiny);
  };
  const std::map<std::string, Variable> values = network_(Variable(picture), taps_);
  for (const auto& [name, target] : content_) {
    Tensor gradient = Tensor::empty(target.shape(), Dtype::f32, target.device());
    add_scaled(1.0f, values.at(name).value(), -1.0f, target, gradient);
    // At the content itself the gradient vanishes: there the term keeps the scale that its features have.
    factors_["content " + name] = normalized(max_abs(gradient) > 0 ? gradient : target, 1.0 / units_of(name).scale);
  }
  for (const auto& [name, target] : grams_) {
    const Tensor& features = values.at(name).value();
    Tensor difference = ops::gram_per_position(features);
    add_scaled(1.0f, difference, -1.0f, target, difference);
    Tensor gradient = Tensor::empty(features.shape(), Dtype::f32, features.device());
    const double channels_squared = static_cast<double>(target.count());
    const double positions = static_cast<double>(features.shape()[1] * features.shape()[2]);
    const double scale = 0.5 * paper_factor(name) / (channels_squared * positions);
    gram_backward(features, difference, static_cast<float>(scale), {}, gradient);
    factors_["style " + name] = normalized(gradient, units_of(name).scale);
  }
}

}  // namespace minidl
