#pragma once
#include <minidl/apps/distill_student.h>

#include <map>
#include <string>
#include <vector>

namespace minidl {

/// Errors of the student, averaged over some pictures.
struct DistillErrors {
  double total = 0;                        // weighted
  std::map<std::string, double> features;  // ||Q F - T||^2 / ||T||^2 by tap
  std::map<std::string, double> grams;     // ||G(Q F) - G(T)||^2 / ||G(T)||^2 by tap
};

/// What a student is trained with: at each tap, how far its prediction Q F is from the teacher's features T and the
/// Gram matrix of the one from that of the other, each measured against the teacher's own of that picture, so that no
/// layer and no picture outweighs the others:
///   sum over taps of feature_weight ||Q F - T||^2 / (||T||^2 + e) + gram_weight ||G(Q F) - G(T)||^2 / (||G(T)||^2 +
///   e')
/// with a small e for flat pictures. A Gram term beyond kLargestTerm pulls no harder than one of that size.
class DistillObjective {
 public:
  static constexpr double kLargestTerm = 20.0;

  /// Keeps a reference to `teacher`, which is frozen and pools as the settings say.
  DistillObjective(layers::Vgg& teacher, const DistillSettings& settings);

  /// Root mean square of the teacher's features of pictures [n, h, w, 3] by tap: the student's units.
  std::map<std::string, double> units(const Tensor& pictures);

  /// The teacher's view of a picture [1, h, w, 3], in the student's units.
  struct Targets {
    std::map<std::string, Tensor> features;  // [1, h, w, c]
    std::map<std::string, Tensor> grams;     // [1, c, c], divided by the positions
  };
  Targets targets(const Tensor& picture, const std::map<std::string, double>& units);

  /// The loss of one picture, a scalar recorded on the current tape. `errors` gains `share` times its terms.
  Variable loss(DistillStudent& student, const Tensor& picture, const Targets& targets, double share,
                DistillErrors& errors) const;

 private:
  layers::Vgg& teacher_;
  DistillSettings settings_;
  std::vector<std::string> taps_;
};

}  // namespace minidl
