#pragma once
#include <minidl/apps/gatys_settings.h>
#include <minidl/apps/loss_scale.h>

#include <map>
#include <memory>
#include <string>

namespace minidl {

/// Losses of one picture. Layer values and tv are unweighted: those of algorithm section "paper" for every loss form
/// (content 1/2 ||F - P||^2, style 1/(4 N^2) ||G / M - A||^2, tv the sum of squared differences of its kind).
struct GatysLosses {
  double total =
      0;  // weighted, in the form of the settings; without tv in the form `mean`, whose program does not print it
  double objective = 0;                        // what is minimised: total with tv
  double content = 0, style = 0, tv_term = 0;  // weighted parts
  std::map<std::string, double> content_layers, style_layers;
  double tv = 0;
};

/// The loss of style transfer as a function of the picture, for one size: targets are computed once, evaluate() many
/// times.
class GatysObjective {
 public:
  /// `content` and `styles` [1, h, w, 3] in [0, 255] at the sizes to be used. Several styles are one target: the
  /// weighted mean of their Gram matrices, whose loss has the same gradient as the weighted sum of theirs. Style
  /// weights are made to sum to 1. Throws Error for a picture too small for the deepest layer, saying which one and the
  /// smallest size.
  struct Style {
    Tensor picture;
    double weight = 1.0;
  };
  GatysObjective(layers::Vgg& network, const GatysSettings& settings, const Tensor& content,
                 const std::vector<Style>& styles);
  ~GatysObjective();

  /// Writes d objective / d picture to `gradient` ([1, h, w, 3]) unless it is nullptr. Throws nothing for values that
  /// are not finite. On a CUDA device, evaluations of one picture, the same storage with other values, with a gradient
  /// are recorded and repeated (cuda::Recording). In fp16 the first evaluation with a gradient chooses the loss scale,
  /// by one more in fp32.
  GatysLosses evaluate(const Tensor& picture, Tensor* gradient);

  /// Sets the factor of each term so that the L1 norm of its gradient with respect to its layer's features is 1 at
  /// `picture`.
  void normalize_at(const Tensor& picture);
  /// Factors by "content relu4_2" and the like, for saving and restoring a run.
  const std::map<std::string, double>& factors() const { return factors_; }
  void set_factors(std::map<std::string, double> factors);
  /// Chosen anew after the factors are set, unless it is set, too.
  const LossScale& loss_scale() const { return loss_scale_; }
  void set_loss_scale(const LossScale& scale);

 private:
  /// Everything that an evaluation computes: scalars of the terms, unweighted, and the gradient.
  struct Terms {
    std::map<std::string, Tensor> content, style;
    Tensor tv, gradient;
  };
  /// An evaluation on a CUDA device as it is repeated.
  struct Repeated;

  void set_form_factors();
  double content_weight(const layers::WeightedLayer& layer) const;
  double style_weight(const layers::WeightedLayer& layer) const;
  double tv_weight() const;
  FeatureUnits units_of(const std::string& layer) const;
  /// Of ops::style_loss, so that it is the paper's term of the network or of the one that it stands for.
  float paper_factor(const std::string& style_layer) const;
  Terms compute(const Tensor& picture, bool with_gradient);
  Terms repeat(const Tensor& picture);
  GatysLosses losses_of(const Terms& terms) const;

  layers::Vgg& network_;
  GatysSettings settings_;
  std::vector<std::string> taps_;
  std::map<std::string, Tensor> content_;  // features by layer
  std::map<std::string, Tensor> grams_;    // [1, c, c] by layer, divided by the number of positions
  std::map<std::string, double> factors_;  // of the paper's terms, by "content NAME" and "style NAME"; "tv"
  Shape shape_;
  LossScale loss_scale_;
  std::unique_ptr<Repeated> repeated_;
};

}  // namespace minidl
