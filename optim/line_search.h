#pragma once

namespace minidl::optim {

/// One evaluation of a line search: the loss and its derivative along the direction, after `step` times the direction.
struct LinePoint {
  double step = 0;
  double loss = 0;
  double slope = 0;
};

struct LineSearchSettings {
  int max_evaluations = 20;
  double sufficient_decrease = 1e-4;  // c1 in (0, 1/2)
  double curvature = 0.9;             // c2 in (c1, 1)

  /// Throws Error for a value outside its range.
  void check() const;
};

/// Search for a step along a descent direction that satisfies the weak Wolfe conditions (Nocedal & Wright 2006,
/// equation 3.6):
///   loss(step) <= loss(0) + c1 * step * slope(0)   and   slope(step) >= c2 * slope(0).
/// The second is all that L-BFGS needs of a step (it makes y's positive). Step 1 is tried first. Later steps lie inside
/// a bracket that shrinks with every evaluation (Lewis & Overton 2013, algorithm 2.6), at the minimum of the cubic
/// through both ends where that is safely inside. Where differences of the loss drown in its rounding, slope(step) <=
/// (2 c1 - 1) * slope(0) stands in for the first condition (Hager & Zhang 2005, equation 4.1). All thresholds are
/// relative to the starting point.
///
///   for (LineSearch search(settings, loss, slope); !search.finished();) search.add(loss and slope at
///   search.next_step());
class LineSearch {
 public:
  /// Throws Error for settings outside their ranges, a start that is not finite, or a slope that is not negative.
  LineSearch(const LineSearchSettings& settings, double loss, double slope);

  double next_step() const { return next_step_; }
  /// Takes the evaluation at next_step(); values that are not finite shorten the next step. True when that point is the
  /// best() so far.
  bool add(double loss, double slope);
  /// True when a step is accepted, the evaluations are used up, or the bracket is too narrow to change the loss.
  bool finished() const { return finished_; }
  /// The lowest point with sufficient decrease; the starting point, step 0, when there is none.
  const LinePoint& best() const { return lower_; }
  int evaluations() const { return evaluations_; }
  /// How many of them were not finite.
  int not_finite() const { return not_finite_; }

 private:
  bool decreases(const LinePoint& point) const;
  double extended(const LinePoint& previous) const;
  double inside_bracket() const;

  LineSearchSettings settings_;
  LinePoint start_;
  LinePoint lower_;  // the longest step with sufficient decrease; falls too steeply to be accepted
  LinePoint upper_;  // the shortest step without; infinite as long as none is known
  double next_step_ = 1;
  int evaluations_ = 0;
  int not_finite_ = 0;
  bool finished_ = false;
};

}  // namespace minidl::optim
