#pragma once
#include <minidl/apps/distill_settings.h>
#include <minidl/layers/vgg.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace minidl {

/// A student as it is trained (layers/student.h): a chain whose input has unit scale, and for each tap a matrix Q
/// [teacher's channels, 1, 1, channels] that predicts the teacher's features, divided by `unit`, what makes their mean
/// square 1.
class DistillStudent {
 public:
  /// Levels of 0..255 that are 1 for the chain: about the standard deviation of photos.
  static constexpr float kInputUnit = 60.0f;

  /// He-normal weights drawn from the settings' seed. `units` by tap.
  DistillStudent(const DistillSettings& settings, const layers::Vgg& teacher, std::map<std::string, double> units);

  /// Begins as a pruned teacher, when its convolutions are those of the teacher, only thinner; else it stays as it is.
  /// Layer by layer the teacher's channels are chosen that explain most of all of them on `pictures` ([n, h, w, 3] in
  /// [0, 255], at least a few), and what the teacher's next filters lose with the others is made up for by what the
  /// chosen ones predict of them (after He, Zhang, Sun 2017; with the student's own values, so that errors do not add
  /// up unseen). True when it was done.
  bool start_from(layers::Vgg& teacher, const std::vector<Tensor>& pictures);

  /// All that is trained, always in the same order.
  std::vector<std::pair<std::string, Variable>> named_parameters() const;
  std::vector<Variable> parameters() const;

  /// Gives `use` the prediction [n, h, w, teacher's channels] for each tap of pictures [n, h, w, 3] in [0, 255].
  void visit(const Tensor& pictures, const layers::Vgg::Use& use);

  /// The network for style transfer, its weights those of now: update() after they have changed.
  layers::Vgg& deployed() { return deployed_; }
  void update();
  /// The same as a description with weights, to be written.
  layers::NetworkDescription description() const;
  const std::map<std::string, double>& units() const { return units_; }

 private:
  /// What the chain sees of pictures.
  Tensor chain_input(const Tensor& pictures) const;
  /// The projection of each tap, from its Q.
  Tensor projection(const std::string& tap) const;

  std::vector<std::string> taps_;
  layers::Vgg chain_;
  std::map<std::string, Variable> q_;
  std::map<std::string, double> units_;
  Tensor scaled_mean_;  // so that (picture - mean) / kInputUnit is what the chain sees
  layers::Vgg deployed_;
};

}  // namespace minidl
