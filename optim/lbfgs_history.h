#pragma once
#include <minidl/optim/preconditioner.h>

#include <vector>

namespace minidl::optim {

/// The curvature pairs of L-BFGS and the inverse Hessian H that they stand for (Nocedal & Wright 2006, section 7.2):
///   s = change of the position, y = change of the gradient;  H is scale() * M, updated by all pairs.
/// Tensors of a pair are never written again, so handles to them may be kept. Memory: 2 * capacity * position, half of
/// that as bf16.
class LbfgsHistory {
 public:
  /// `preconditioner` is M; empty: the identity. Pairs are kept as `dtype`, f32 or bf16: H is that of the rounded
  /// pairs. Throws Error for other types and unless capacity >= 1.
  explicit LbfgsHistory(int capacity, Preconditioner preconditioner = {}, Dtype dtype = Dtype::f32);

  /// Keeps the pair, f32 or bf16, in place of the oldest when there is no room, if s'y > 1e-10 ||s|| ||y||: H stays
  /// positive definite. True when kept.
  bool add(Tensor s, Tensor y);
  /// Forgets the pairs: H is scale * M.
  void restart(double scale);

  /// direction = -H gradient: the two-loop recursion (algorithm 7.4) with its products of vectors taken together. With
  /// the columns s_i of S and y_i of Y, D the diagonal and R the upper triangle of S'Y, the first loop solves
  ///   R a = S'g  (last to first),    the second    R'(a - b) = D a - Y'r  (first to last),    r = scale M (g - Y a),
  /// and H g = r + S (a - b). So each vector is read twice, in four passes that hold a block of the direction in the
  /// cache, instead of being met by a pass over the whole direction each time. Scalars and sums are f64.
  void apply(const Tensor& gradient, Tensor& direction);
  /// M x; x itself when M is the identity.
  Tensor precondition(const Tensor& x) const;
  /// 2 s'y / y'My of the newest pair, or what restart() set. s'y / y'My itself (equation 7.20) is a mean of the inverse
  /// curvatures weighted towards the steepest directions, too small for those that the pairs do not span: on
  /// style transfer twice as much reaches the same loss in 5 to 10 % fewer evaluations, and unit steps are still
  /// accepted.
  double scale() const { return scale_; }
  /// Oldest first.
  const std::vector<Tensor>& s() const { return s_; }
  const std::vector<Tensor>& y() const { return y_; }
  bool empty() const { return s_.empty(); }

 private:
  std::vector<double> products_with(const Tensor& gradient);

  Tensor stored(const Tensor& x) const;

  size_t capacity_;
  Dtype dtype_;
  Preconditioner preconditioner_;
  std::vector<Tensor> s_, y_;
  // Column j of R, s_i'y_j for i <= j; nothing but s_j'y_j, its last, until the first apply() after its pair was added.
  std::vector<std::vector<double>> columns_;
  double scale_ = 1;
};

}  // namespace minidl::optim
