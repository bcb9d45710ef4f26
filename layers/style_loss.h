#pragma once
#include <minidl/layers/ops.h>
#include <minidl/layers/vgg.h>

#include <span>

namespace minidl::layers {

/// A layer's name and the weight of its loss term.
struct WeightedLayer {
  std::string name;
  double weight = 1.0;
  friend bool operator==(const WeightedLayer&, const WeightedLayer&) = default;
};

/// Style terms that are made as features pass by (Vgg::visit). What is differentiated on a CUDA device keeps its features anyway: those terms are made
/// together by finish(), which takes fewer launches; others at once, so that no features are kept for them.
class StyleTerms {
 public:
  /// A weight that is not positive and finite is taken as 1: the term is not differentiated then, or is no number anyway.
  void add(const std::string& layer, ops::StyleTerm term);
  /// By layer.
  std::map<std::string, Variable> finish();

 private:
  std::vector<std::string> waiting_;
  std::vector<ops::StyleTerm> waiting_terms_;
  std::map<std::string, Variable> losses_;
};

/// Gram matrices / M of a style picture at some layers, to be compared with those of another picture (Gatys et al. 2015, eqs. 3 to 5).
class StyleTargets {
 public:
  /// Equal weights 1 / (number of layers).
  StyleTargets(Vgg& network, const Tensor& style, std::vector<std::string> layers);
  /// A span, so that a list of names in braces can only mean the constructor above.
  StyleTargets(Vgg& network, const Tensor& style, std::span<const WeightedLayer> layers);

  /// The style layers and `more`, without repetition: what to ask the network for.
  std::vector<std::string> taps(std::vector<std::string> more = {}) const;
  /// Sum of weight * style_loss over the layers. `features` has all of them.
  Variable loss(const std::map<std::string, Variable>& features) const;
  const Tensor& gram(const std::string& layer) const;
  const std::vector<WeightedLayer>& layers() const { return layers_; }

 private:
  std::vector<WeightedLayer> layers_;
  std::map<std::string, Tensor> grams_;  // [1, c, c]
};

}  // namespace minidl::layers

namespace minidl {
using layers::StyleTargets;
}
