#pragma once
#include <minidl/apps/loss_form.h>
#include <minidl/layers/style_loss.h>
#include <minidl/layers/transform_net.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace minidl {

/// How the learning rate goes on from its first value: stays, falls along half a cosine to a hundredth at the last
/// step, or is multiplied by 0.3 after each third of the steps.
enum class LrSchedule { constant, cosine, steps };

/// Everything that the training of a transform net needs besides the loss network, the paintings and the photos. The
/// defaults are those of the preset "default".
struct FastStyleSettings {
  layers::TransformNetOptions net = {};  // its number of styles is that of the paintings

  LossForm form = LossForm::relative;
  std::vector<layers::WeightedLayer> content_layers{{"relu3_3", 1.0}};
  std::vector<layers::WeightedLayer> style_layers{
      {"relu1_2", 0.25}, {"relu2_2", 0.25}, {"relu3_3", 0.25}, {"relu4_3", 0.25}};
  double alpha = 1.0;  // weight of the content term, >= 0
  double beta = 15.0;  // weight of the style term, >= 0
  double tv = 2.0;     // weight of the total variation, >= 0
  /// The loss sees luminance only: the net learns strokes, not colours, and its pictures take their colours from the
  /// photo (color_transfer.h).
  bool original_colors = false;
  /// Unit of the input (NetworkDescription::input_unit) of the network that the weights were chosen for: they keep
  /// their meaning on a loss network with another unit. 0: they are meant for the loss network that is used.
  double input_unit = 0.0;

  int64_t steps = 10000;
  int64_t batch = 4;
  /// Photos that are computed at a time: fewer need less memory, and their gradients add up to the batch's. 0: two,
  /// which are also quickest on a CPU. Batch normalisation computes the whole batch, whose statistics it needs.
  int64_t micro_batch = 0;
  int64_t size = 256;  // side of the square photos
  float lr = 2e-3f;    // of Adam, > 0
  LrSchedule schedule = LrSchedule::cosine;
  int64_t warm_up = 0;  // steps in which lr grows from nearly 0
  float weight_decay = 0.0f;
  double clip_norm = 0.0;  // longest gradient of all parameters together; longer ones are shortened; 0: none are
  uint64_t seed = 0;       // of the first weights

  /// "paper" (Johnson et al. 2016), "pytorch-examples" or "default"; throws Error for other names.
  static FastStyleSettings preset(std::string_view name);
  static std::vector<std::string> preset_names();
  /// Throws Error naming the first setting that is out of its range or names a layer that the network does not have.
  void check(const layers::Vgg& network) const;
  /// Photos of a batch that are computed at a time: micro_batch, or what its 0 stands for.
  int64_t at_once() const;
  /// Every layer whose value the loss needs.
  std::vector<std::string> taps() const;
  float lr_at(int64_t step) const;
  /// All settings that determine the result, as text. The number of steps is among them because the schedule follows
  /// it.
  std::string fingerprint() const;
};

}  // namespace minidl
