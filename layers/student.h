#pragma once
#include <minidl/layers/network_description.h>

#include <array>
#include <cstdint>

namespace minidl::layers {

/// A student is a small chain of VGG's kind that stands for VGG in the losses of style transfer. At each of its taps a
/// matrix Q predicts the teacher's features T from its own, T ≈ Q F (1x1 convolution). A loss needs less than that: for
/// differences D of features and of Gram matrices ||Q D||^2 = tr(Dᵀ M D) and ||Q D Qᵀ||^2 = tr(M D M D) with M = QᵀQ,
/// which is RᵀR for a triangular R as small as the student is thin. R is its projection: what Vgg hands out is R F, and
/// every loss on it is the one on Q F.

/// The shape of a student: blocks of 3x3 convolutions with ReLUs, pools of 2x2 between them, under VGG's layer names.
struct StudentOptions {
  static constexpr size_t kBlocks = 5;
  std::array<int64_t, kBlocks> widths{16, 32, 80, 192, 192};  // channels of each block, 1 to 1024
  std::array<int64_t, kBlocks> convolutions{2, 2, 4, 4, 1};   // in each block, 1 to 8
  PoolKind pooling = PoolKind::average;

  friend bool operator==(const StudentOptions&, const StudentOptions&) = default;
};

/// The chain without weights, up to the ReLU of the last convolution. Throws Error for options out of their range.
NetworkDescription student_description(const StudentOptions& options);

/// The projection [c, 1, 1, c] for Q [teacher_c, 1, 1, c], times `unit`, what the teacher's features were divided by:
/// upper triangular R with RᵀR = unit^2 QᵀQ (Cholesky; QᵀQ gains a millionth of its mean diagonal on its own).
Tensor projection_of(const Tensor& q, double unit);

}  // namespace minidl::layers
