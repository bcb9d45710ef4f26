#pragma once
#include <minidl/apps/distill_settings.h>
#include <minidl/apps/gatys.h>
#include <minidl/core/safetensors.h>

#include <optional>
#include <string>
#include <vector>

namespace minidl {

/// A content and a style picture, [1, h, w, 3] in [0, 255], each of its own size: what a student is judged by.
struct DistillPair {
  Tensor content, style;
};

/// What the teacher says of a picture.
struct DistillVerdict {
  double style = 0;    // weighted mean over the style layers of ||G - A||^2 / ||A||^2
  double content = 0;  // of the content layers of ||F - P||^2 / ||P||^2
  double paper = 0;    // the paper's loss: content + 1000 * style in its own terms
};

/// How good the student's pictures are beside the teacher's own, means over the pairs.
struct DistillScore {
  double style_share = 0;    // log of the reduction of `style` from the content picture, as a share of what it is with
                             // the teacher: 1 is as good
  double paper_share = 0;    // the same of `paper`
  double content_ratio = 0;  // geometric mean of `content` over that of the teacher's picture
};

/// Judges students by their purpose: pictures are optimised from their content with a student and, once, with the
/// teacher, with the same settings and number of iterations, and the teacher judges both.
class DistillJudge {
 public:
  /// Keeps a reference to `teacher`. `iterations` of L-BFGS at the pictures' own size.
  DistillJudge(layers::Vgg& teacher, const DistillSettings& settings, std::vector<DistillPair> pairs, int iterations);

  /// At the first call also the teacher's own pictures are made, which takes many times longer.
  DistillScore score(layers::Vgg& student);
  const std::vector<DistillPair>& pairs() const { return pairs_; }
  /// Of the last score: the student's picture of each pair.
  const std::vector<Tensor>& pictures() const { return pictures_; }
  /// Of the first score since the run began or went on: the teacher's; empty when its verdicts were loaded.
  const std::vector<Tensor>& teacher_pictures() const { return teacher_pictures_; }

  /// The verdicts of the teacher's pictures, so that they need not be made again.
  void save(SafetensorsContent& content) const;
  void load(const SafetensorsReader& reader);
  /// Of the pairs and the number of iterations.
  std::string fingerprint() const;

 private:
  struct Reference {
    DistillVerdict start, reached;
  };
  Tensor optimise(layers::Vgg& network, Precision precision, const DistillPair& pair) const;
  DistillVerdict verdict(const DistillPair& pair, const Tensor& picture) const;

  layers::Vgg& teacher_;
  Precision teacher_precision_, student_precision_;
  GatysSettings transfer_;
  std::vector<DistillPair> pairs_;
  std::vector<Reference> references_;  // empty: not made yet
  std::vector<Tensor> pictures_, teacher_pictures_;
};

}  // namespace minidl
