#include <minidl/kernels/execution.h>
#include <minidl/layers/style_loss.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace minidl::layers {
namespace {

std::vector<WeightedLayer> equally_weighted(const std::vector<std::string>& names) {
  std::vector<WeightedLayer> layers;
  for (const std::string& name : names) layers.push_back({name, 1.0 / static_cast<double>(names.size())});
  return layers;
}

}  // namespace

void StyleTerms::add(const std::string& layer, ops::StyleTerm term) {
  if (!(term.weight > 0 && std::isfinite(term.weight))) term.weight = 1.0f;
  const Tensor& features = term.features.value();
  if (features.device().kind != Device::Kind::cuda || !term.features.requires_grad()) {
    losses_[layer] = ops::style_losses({&term, 1}).front();
    return;
  }
  // The next convolution leaves its operand to the term, whose gradient it may have to add.
  if (features.shape()[0] == 1 && execution::precision() == Precision::bf16) features.share_derived();
  waiting_.push_back(layer);
  waiting_terms_.push_back(term);
}

std::map<std::string, Variable> StyleTerms::finish() {
  const std::vector<Variable> losses = ops::style_losses(waiting_terms_);
  for (size_t i = 0; i < losses.size(); ++i) losses_[waiting_[i]] = losses[i];
  waiting_.clear();
  waiting_terms_.clear();
  return std::exchange(losses_, {});
}

StyleTargets::StyleTargets(Vgg& network, const Tensor& style, std::vector<std::string> layers)
    : StyleTargets(network, style, equally_weighted(layers)) {}

StyleTargets::StyleTargets(Vgg& network, const Tensor& style, std::span<const WeightedLayer> layers)
    : layers_(layers.begin(), layers.end()) {
  MINIDL_CHECK(!layers_.empty(), "[style] no style layers given");
  network.visit(Variable(style), taps(), [&](const std::string& name, const Variable& features) {
    grams_[name] = ops::gram_per_position(features.value());
  });
}

std::vector<std::string> StyleTargets::taps(std::vector<std::string> more) const {
  for (const WeightedLayer& layer : layers_) {
    if (std::find(more.begin(), more.end(), layer.name) == more.end()) more.push_back(layer.name);
  }
  return more;
}

Variable StyleTargets::loss(const std::map<std::string, Variable>& features) const {
  Variable total;
  for (const WeightedLayer& layer : layers_) {
    const auto found = features.find(layer.name);
    MINIDL_CHECK(found != features.end(), "[style] the features of layer '{}' are missing; ask the network for taps()",
                 layer.name);
    const Variable term = ops::style_loss(found->second, gram(layer.name), static_cast<float>(layer.weight));
    total = total ? total + term : term;
  }
  return total;
}

const Tensor& StyleTargets::gram(const std::string& layer) const {
  const auto found = grams_.find(layer);
  MINIDL_CHECK(found != grams_.end(), "[style] '{}' is not one of the style layers", layer);
  return found->second;
}

}  // namespace minidl::layers
