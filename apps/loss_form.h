#pragma once
#include <minidl/kernels/number.h>
#include <minidl/layers/vgg.h>

#include <string>

namespace minidl {

/// How the terms of style transfer's loss are measured. F and P are the features of the picture and of the content, N
/// their channels, M their positions; G = F Fᵀ / M of the picture, A the same of the style.
///
/// paper (Gatys et al. 2015): content 1/2 ||F - P||^2; style 1/(4 N^2) ||G - A||^2; tv the sum of squared differences.
///
/// mean (Johnson et al. 2016, neural-style): content mean of (F - P)^2; style mean of ((G - A) / N)^2; tv half the sum
/// over the interior.
///
/// relative (ours): content ||F - P||^2 / ||P||^2; style ||G - A||^2 / ||A||^2; tv mean of squared differences / 128^2.
/// It has no units: the same weights give the same look at every size and for every painting.
enum class LossForm { paper, mean, relative };

/// How features that a network hands out stand for F.
struct FeatureUnits {
  FeatureUnits(const layers::Vgg& network, const std::string& layer)
      : channels(network.loss_channels(layer)), scale(network.feature_scale(layer)) {}

  int64_t channels;  // N
  double scale;      // a power of two, which F is multiplied by
};

/// Factors by which terms of features as they are become the paper's terms of F.
/// Content: 1/2 ||features - target||^2. 1 / scale^2.
double content_share(const FeatureUnits& units);
/// Style: `target` [1, c, c], ops::style_loss. (c / N)^2 / scale^4.
double style_share(const Tensor& target, const FeatureUnits& units);

/// Factors by which the paper's terms become those of `form`. Terms of a batch are averaged over its pictures:
/// relative content is measured against the whole batch.
/// Content: `target` P is [n, h, w, c], the term 1/2 ||F - P||^2 summed over the batch.
double content_factor(LossForm form, const Tensor& target, const FeatureUnits& units);
/// factor times that and content_share, on the target's device where it depends on its values and recorded work needs
/// it.
Factor scaled_content_factor(LossForm form, const Tensor& target, const FeatureUnits& units, double factor);
/// Style: `target` A is [1, c, c], the term 1/(4 N^2) ||G - A||^2 averaged over the batch.
double style_factor(LossForm form, const Tensor& target, const FeatureUnits& units);
/// Total variation: `picture` [n, h, w, 3], the term its sum of squared differences.
double total_variation_factor(LossForm form, const Shape& picture);

}  // namespace minidl
