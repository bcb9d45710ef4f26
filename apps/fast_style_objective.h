#pragma once
#include <minidl/apps/fast_style_settings.h>
#include <minidl/kernels/number.h>

#include <map>
#include <string>
#include <vector>

namespace minidl {

/// Losses of a batch, averaged over its pictures.
struct FastStyleLosses {
  double total = 0;                                            // weighted
  double content = 0, style = 0, tv = 0;                       // its weighted parts
  std::map<std::string, double> content_layers, style_layers;  // unweighted, in the form of the settings
};

/// What the loss needs of a batch of photos.
struct FastStyleTargets {
  int64_t photos = 0;
  std::map<std::string, Tensor> content;  // features [photos, h, w, c] by layer
  std::map<std::string, Factor> factors;  // of the content terms, measured against the whole batch
};

/// A term of the loss of some of a batch's pictures.
struct FastStyleTerm {
  enum class Kind { content, style, tv } kind;
  std::string layer;
  Tensor value;  // scalar on the CPU, in the form of the settings: the share of these pictures in the batch's mean
  double weight;
};

/// What a transform net is trained with (Johnson et al. 2016, eqs. 2 to 4): the content of each photo and the style of
/// a painting, compared in the features of a fixed network, and total variation.
class FastStyleObjective {
 public:
  /// Keeps a reference to `network`, which is frozen. `styles`: paintings [1, h, w, 3] in [0, 255], whose Gram matrices
  /// are the targets. Throws Error without a style and for a painting that is too small for the deepest layer.
  FastStyleObjective(layers::Vgg& network, const FastStyleSettings& settings, const std::vector<Tensor>& styles);

  /// Of photos [n, h, w, 3] in [0, 255].
  FastStyleTargets targets(const Tensor& photos);
  /// The share that `output` has in the batch's weighted loss in the style with the given index: a scalar, recorded on
  /// the current tape. `output` [m, h, w, 3] in [0, 255] are the net's pictures for the photos from `first` on.
  /// `terms` gains its terms: those of all photos add up to the means over the batch. Their values are not read here.
  /// `scale` is what the backward pass will begin with.
  Variable loss(const Variable& output, const FastStyleTargets& targets, int64_t first, int style,
                std::vector<FastStyleTerm>& terms, float scale = 1.0f);
  /// The sums of terms.
  static FastStyleLosses losses_of(const std::vector<FastStyleTerm>& terms);

  /// What the loss sees of a picture: all of it, or its luminance in three equal channels.
  Variable seen(const Variable& picture) const;

 private:
  layers::Vgg& network_;
  FastStyleSettings settings_;
  std::vector<std::string> content_taps_, taps_;
  double unit_scale_;  // of the network that the weights were chosen for, over that of this one
  std::vector<std::map<std::string, Tensor>> grams_;  // of each style: [1, c, c] by layer, divided by the positions
  std::vector<std::map<std::string, double>> style_factors_;  // of their terms
  Variable luminance_;                                // filter [3, 1, 1, 3]
};

}  // namespace minidl
