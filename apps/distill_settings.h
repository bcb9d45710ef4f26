#pragma once
#include <minidl/kernels/execution.h>
#include <minidl/layers/student.h>
#include <minidl/layers/style_loss.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace minidl {

/// Everything that the training of a student needs besides the teacher and the pictures.
struct DistillSettings {
  layers::StudentOptions student = {};

  /// What a style transfer with the student will look at; together the student's taps.
  std::vector<layers::WeightedLayer> content_layers{{"relu4_2", 1.0}};
  std::vector<layers::WeightedLayer> style_layers{
      {"relu1_1", 0.2}, {"relu2_1", 0.2}, {"relu3_1", 0.2}, {"relu4_1", 0.2}, {"relu5_1", 0.2}};
  /// How the teacher pools; empty: as its file says. Style transfer's default is the average.
  std::optional<PoolKind> teacher_pooling = PoolKind::average;
  Precision teacher_precision = Precision::fp32, student_precision = Precision::fp32;

  double feature_weight = 1.0;  // of the errors of the features, >= 0
  double gram_weight = 0.5;     // of those of the Gram matrices, >= 0

  int64_t steps = 20000;
  int64_t batch = 4;          // pictures of a step
  int64_t on_policy = 2;      // of them taken from the pool, at most `batch`
  int64_t size = 192;         // side of the square pictures
  int64_t pretraining = 100;  // steps before the pool is begun: all pictures are given ones

  /// The pool: pictures that the student itself is stylising, in turns of a few iterations of L-BFGS.
  int64_t pool = 40;            // pictures in it, >= 1
  int64_t pool_iterations = 6;  // in a turn
  int64_t pool_turns = 8;       // after at most so many a picture is replaced
  double alpha = 1.0;           // weights of its loss (LossForm::relative) for content,
  double beta = 30.0;           // style: each picture's own is up to four times more or less,
  double tv = 2.0;              // and total variation
  double photo_styles = 0.25;   // share of its pictures whose style is a photo's

  float lr = 5e-3f;       // of Adam, > 0, divided by sqrt(terms of an output); falls along half a cosine to a hundredth
  int64_t warm_up = 100;  // steps in which it grows from nearly 0
  double clip_norm = 5.0;   // longest gradient of all parameters together; 0: any
  bool fit_teacher = true;  // the first weights are fitted to the teacher's answers where that is possible, else random
  uint64_t seed = 0;

  /// Throws Error naming the first setting that is out of its range or names a layer that teacher or student lack.
  void check(const layers::Vgg& teacher) const;
  /// Every layer that the student stands for.
  std::vector<std::string> taps() const;
  float lr_at(int64_t step) const;
  /// All settings that determine the result, as text.
  std::string fingerprint() const;
};

}  // namespace minidl
