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
  /// He-normal weights drawn from the settings' seed. `units` by tap.
  DistillStudent(const DistillSettings& settings, const layers::Vgg& teacher, std::map<std::string, double> units);

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
