#pragma once
#include <minidl/apps/distill_settings.h>
#include <minidl/core/safetensors.h>
#include <minidl/layers/vgg.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace minidl {

/// Pictures on their way from a photo to a style, as the student sees it: where student and teacher disagree, an
/// optimiser finds it, and here the student learns of it (compare DAgger: Ross, Gordon, Bagnell 2011). Each step gives
/// one picture a turn: some iterations of the L-BFGS that style transfer uses, with the student as it is then. A
/// picture whose turns are over makes room for a new one. Everything that happens in a step is a function of the pool,
/// the student, the step's number and its pictures.
class DistillPool {
 public:
  explicit DistillPool(const DistillSettings& settings);

  /// One picture's turn, or a new picture's first one while the pool is not full; returns its number. `photos` and
  /// `paintings` [n, size, size, 3], of which a new picture is made.
  size_t take_turn(int64_t step, const Tensor& photos, const Tensor& paintings, layers::Vgg& student);
  /// Up to `count` different numbers of other pictures, drawn at random for a step.
  std::vector<size_t> others(int64_t step, size_t number, size_t count) const;
  /// [1, size, size, 3], about in [0, 255].
  const Tensor& picture(size_t number) const { return members_[number].picture; }
  size_t size() const { return members_.size(); }

  /// For checkpoints.
  void save(SafetensorsContent& content) const;
  /// Throws Error naming the file when something is missing or does not fit; then the pool is as it was.
  void load(const SafetensorsReader& reader);

 private:
  struct Member {
    Tensor content, style, picture;  // [1, size, size, 3]
    double beta = 0;
    int64_t turns_left = 0;
  };
  Member make(int64_t step, const Tensor& photos, const Tensor& paintings) const;

  DistillSettings settings_;
  std::vector<Member> members_;
  int64_t turns_ = 0;  // taken
};

/// The given pictures of a step: photos, paintings, blends of both, some of them with noise or another contrast. Row i
/// of the result comes from row i of `photos` and `paintings`.
Tensor given_pictures(const Tensor& photos, const Tensor& paintings, uint64_t seed, int64_t step);

}  // namespace minidl
