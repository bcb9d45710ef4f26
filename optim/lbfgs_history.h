#pragma once
#include <minidl/optim/preconditioner.h>

#include <deque>

namespace minidl::optim {

/// The curvature pairs of L-BFGS and the inverse Hessian H that they stand for (Nocedal & Wright 2006, section 7.2):
///   s = change of the position, y = change of the gradient;  H is scale() * M, updated by all pairs.
/// Tensors of a pair are never written again, so handles to them may be kept. Memory: 2 * capacity * position.
class LbfgsHistory {
 public:
  struct Pair {
    Tensor s, y;
    double sy;  // s'y
  };

  /// `preconditioner` is M; empty: the identity. Throws Error unless capacity >= 1.
  explicit LbfgsHistory(int capacity, Preconditioner preconditioner = {});

  /// Keeps the pair, in place of the oldest when there is no room, if s'y > 1e-10 ||s|| ||y||: H stays positive
  /// definite. True when kept.
  bool add(Tensor s, Tensor y);
  /// Forgets the pairs: H is scale * M.
  void restart(double scale);

  /// direction = -H gradient by the two-loop recursion (algorithm 7.4): scalars in f64, vectors in f32.
  void apply(const Tensor& gradient, Tensor& direction) const;
  /// M x; x itself when M is the identity.
  Tensor precondition(const Tensor& x) const;
  /// 2 s'y / y'My of the newest pair, or what restart() set. s'y / y'My itself (equation 7.20) is a mean of the inverse
  /// curvatures weighted towards the steepest directions, too small for those that the pairs do not span: on
  /// style transfer twice as much reaches the same loss in 5 to 10 % fewer evaluations, and unit steps are still
  /// accepted.
  double scale() const { return scale_; }
  /// Oldest first.
  const std::deque<Pair>& pairs() const { return pairs_; }
  bool empty() const { return pairs_.empty(); }

 private:
  size_t capacity_;
  Preconditioner preconditioner_;
  std::deque<Pair> pairs_;
  double scale_ = 1;
};

}  // namespace minidl::optim
