#pragma once
#include <minidl/apps/color_transfer.h>
#include <minidl/apps/loss_form.h>
#include <minidl/kernels/pool2d.h>
#include <minidl/layers/style_loss.h>
#include <minidl/layers/vgg.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace minidl {

enum class GatysInit { noise, content, style, picture };
enum class GatysOptimizer { lbfgs, adam, sgd };

/// Everything that Gatys needs besides the network and the pictures. The defaults are those of the preset "default".
struct GatysSettings {
  LossForm form = LossForm::relative;
  std::vector<layers::WeightedLayer> content_layers{{"relu4_2", 1.0}};
  std::vector<layers::WeightedLayer> style_layers{
      {"relu1_1", 0.2}, {"relu2_1", 0.2}, {"relu3_1", 0.2}, {"relu4_1", 0.2}, {"relu5_1", 0.2}};
  double alpha = 1.0;                                   // weight of the content term, >= 0
  double beta = 30.0;                                   // weight of the style term, >= 0
  double tv = 2.0;                                      // weight of the total variation, >= 0
  std::optional<PoolKind> pooling = PoolKind::average;  // empty: as the network file says
  /// Divides each term by the L1 norm of its gradient with respect to its layer's features, at the first picture of
  /// each size.
  bool normalize_gradients = false;

  GatysInit init = GatysInit::content;
  double noise_sigma = 30.0;  // standard deviation of the noise around the mean colour, in levels of 0..255
  uint64_t seed = 0;

  int64_t size = 512;        // longer side of the result and of the style picture; 0: nothing is resized
  double style_scale = 1.0;  // size of the style picture relative to that
  int scales = 3;  // coarse to fine: sizes grow by sqrt 2 up to `size`; steps too small for the network are left out
  int iterations = 100;  // of the optimiser, at each scale

  GatysOptimizer optimizer = GatysOptimizer::lbfgs;
  double lr = 0.0;        // of Adam and SGD; 0: a default for the optimiser
  double momentum = 0.9;  // of SGD
  int history = 0;        // of L-BFGS; 0: 100 for small pictures, less for large ones
  /// Of L-BFGS's pairs: rounded to 8 bits they lead to the same loss in as many evaluations (docs/performance.md).
  static constexpr Dtype kHistoryDtype = Dtype::bf16;

  bool original_colors = false;  // the result takes its chroma from the content
  ColorMatch match_colors = ColorMatch::none;

  /// "paper", "neural-style" or "default"; throws Error for other names.
  static GatysSettings preset(std::string_view name);
  static std::vector<std::string> preset_names();
  /// Throws Error naming the first setting that is out of its range or names a layer that the network does not have.
  void check(const layers::Vgg& network) const;
  /// Every layer whose value the loss needs.
  std::vector<std::string> taps() const;
  /// Pairs kept by L-BFGS for a picture of so many values.
  int history_for(int64_t values) const;
  double lr_or_default() const;
  /// All settings that determine the result, as text; the number of iterations is not among them, so that a run can be
  /// extended.
  std::string fingerprint() const;
};

}  // namespace minidl
