#pragma once
#include <minidl/kernels/curvature_pair.h>
#include <minidl/kernels/lbfgs_loops.h>
#include <minidl/optim/preconditioner.h>

#include <vector>

namespace minidl::optim {

/// Products at a point of a line search: the gradient's with the direction and itself, and those of the curvature pair
/// that decide about it.
struct PointProducts {
  double slope = 0, gradient_square = 0;
  double sy = 0, ss = 0, yy = 0, y_my = 0;

  static PointProducts from(const double* values) {
    return {values[0], values[1], values[2], values[3], values[4], values[5]};
  }
};

/// The curvature pairs of L-BFGS and the inverse Hessian H that they stand for (Nocedal & Wright 2006, section 7.2):
///   s = change of the position, y = change of the gradient;  H is scale() * M, updated by all pairs.
/// Tensors of a pair are never written again, so handles to them may be kept. Memory: 2 * capacity * position, half of
/// that as bf16.
class LbfgsHistory {
 public:
  /// `preconditioner` is M; empty: the identity. Pairs are kept as `dtype`, f32 or bf16: H is that of the rounded
  /// pairs. Throws Error for other types and unless capacity >= 1.
  explicit LbfgsHistory(int capacity, Preconditioner preconditioner = {}, Dtype dtype = Dtype::f32);
  LbfgsHistory(LbfgsHistory&&) = default;  // no copies: they would write to the same products
  LbfgsHistory& operator=(LbfgsHistory&&) = default;

  /// A pair of changes, as it would be kept, and y's values as f32 where y is bf16.
  struct Pair {
    Tensor s, y, y_values;
  };
  /// That from the start to a point; writes the products to `products`, f64 [6] on the point's device in the order of
  /// PointProducts, where nothing waits for them.
  Pair measure(const SearchPoint& point, Tensor& products) const;
  /// Keeps a pair with these products, f32 or bf16, in place of the oldest when there is no room, if s'y > 1e-10 ||s||
  /// ||y||: H stays positive definite. True when kept. y's values, if they are given, are held until the next apply().
  bool add(const Pair& pair, const PointProducts& products);
  /// The same for a pair that was not measured; waits for the device.
  bool add(Tensor s, Tensor y);
  /// Forgets the pairs: H is scale * M.
  void restart(double scale);

  /// direction = -H gradient: the two-loop recursion (algorithm 7.4) with its products of vectors taken together. With
  /// the columns s_i of S and y_i of Y, D the diagonal and R the upper triangle of S'Y, the first loop solves
  ///   R a = S'g  (last to first),    the second    R'(a - b) = D a - Y'r  (first to last),    r = scale M (g - Y a),
  /// and H g = r + S (a - b). So each vector is read twice, in four passes that hold a block of the direction in the
  /// cache, instead of being met by a pass over the whole direction each time. Scalars and sums are f64 and stay where
  /// the vectors are: on a device, nothing waits. The last pass writes the search's first point and products, too.
  void apply(const SearchStart& search);
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
  Tensor first_loop(const Tensor& gradient);
  void drop_oldest();
  void make_room(Device device);
  Tensor column(size_t j) const;

  void precondition(const Tensor& x, double factor, Tensor& output) const;
  Tensor stored(const Tensor& x) const;

  size_t capacity_;
  Dtype dtype_;
  Preconditioner preconditioner_;
  std::vector<Tensor> s_, y_;
  Tensor newest_y_values_;  // undefined: not at hand
  // [j, i] = s_i'y_j for i <= j, the columns of R; the first known_ are there, the others are computed by the next
  // apply().
  Tensor columns_;
  size_t known_ = 0;
  double scale_ = 1;
};

}  // namespace minidl::optim
