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

  /// Finds first weights from what the teacher answers to `pictures` ([n, h, w, 3] in [0, 255], at least a few), when
  /// it has all of the student's convolutions and at least their channels; else the student stays as it is. Layer by
  /// layer: the channels of the teacher are chosen that explain most of all of them (greedy subset selection), the
  /// student's filters are the best linear prediction of their values before the ReLU from what the student's layer
  /// reads (as He, Zhang, Sun 2017 make up for channels that were cut off; with the student's own input, errors of
  /// earlier layers are made up for, too), and Q is the best one of all of the teacher's channels. No weight of the
  /// teacher is read. True when it was done.
  bool start_from(layers::Vgg& teacher, const std::vector<Tensor>& pictures);

  /// All that is trained, always in the same order.
  std::vector<std::pair<std::string, Variable>> named_parameters() const;
  std::vector<Variable> parameters() const;
  /// Of the learning rate, for each parameter: 1 / sqrt(terms of an output of its layer), so that a step changes the
  /// outputs of wide layers no more than those of thin ones.
  std::vector<float> lr_factors() const;

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
  /// The same less the mean: what its first convolution reads.
  Tensor centred(const Tensor& pictures) const;
  /// Of any layer of the chain, and of the teacher.
  Tensor values_at(const std::string& layer, const Tensor& pictures);
  Tensor teacher_values(layers::Vgg& teacher, const std::string& layer, const Tensor& pictures) const;
  void fit_convolution(size_t layer, layers::Vgg& teacher, const std::vector<Tensor>& pictures);
  void fit_projection(const std::string& tap, layers::Vgg& teacher, const std::vector<Tensor>& pictures);
  /// The projection of each tap, from its Q.
  Tensor projection(const std::string& tap) const;

  DistillSettings settings_;
  layers::Vgg chain_;
  std::map<std::string, Variable> q_;
  std::map<std::string, double> units_;
  Tensor scaled_mean_;  // so that (picture - mean) / kInputUnit is what the chain sees
  layers::Vgg deployed_;
};

}  // namespace minidl
