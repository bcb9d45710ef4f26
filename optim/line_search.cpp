#include <minidl/core/error.h>
#include <minidl/optim/line_search.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace minidl::optim {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kLossRounding = 0x1p-23;  // relative; losses are sums of f32 values
constexpr double kNegligible = 0x1p-52;    // relative change of the loss that no evaluation can show
constexpr double kMargin = 0.1;            // share of the bracket that an interpolated step keeps from both ends
constexpr double kNotFiniteShare = 0.2;    // of the bracket, when its upper end is not finite
constexpr double kMinExtension = 2, kMaxExtension = 10;

bool is_finite(const LinePoint& point) {
  return std::isfinite(point.loss) && std::isfinite(point.slope);
}

/// Where the cubic with the losses and slopes of `a` and `b` has its minimum (Nocedal & Wright 2006, equation 3.59);
/// NaN when it has none.
double cubic_minimum(const LinePoint& a, const LinePoint& b) {
  const double width = b.step - a.step;
  const double d1 = a.slope + b.slope - 3 * (b.loss - a.loss) / width;
  const double d2 = std::sqrt(d1 * d1 - a.slope * b.slope);
  return b.step - width * (b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2);
}

}  // namespace

void LineSearchSettings::check() const {
  MINIDL_CHECK(max_evaluations >= 1, "[line_search] max_evaluations is {}, it must be at least 1", max_evaluations);
  MINIDL_CHECK(
      0 < sufficient_decrease && sufficient_decrease < 0.5 && sufficient_decrease < curvature && curvature < 1,
      "[line_search] sufficient_decrease is {} and curvature is {}; they must satisfy 0 < sufficient_decrease < "
      "curvature < 1 and sufficient_decrease < 0.5",
      sufficient_decrease, curvature);
}

LineSearch::LineSearch(const LineSearchSettings& settings, double loss, double slope)
    : settings_(settings), start_{0, loss, slope}, lower_(start_), upper_{kInfinity, kInfinity, kInfinity} {
  settings.check();
  MINIDL_CHECK(is_finite(start_) && slope < 0,
               "[line_search] the start has loss {} and slope {}; both must be finite, the slope negative", loss,
               slope);
}

bool LineSearch::add(double loss, double slope) {
  ++evaluations_;
  const LinePoint point{next_step_, loss, slope};
  const bool better = is_finite(point) && decreases(point);
  if (better) {
    const LinePoint previous = std::exchange(lower_, point);
    next_step_ = upper_.step == kInfinity ? extended(previous) : inside_bracket();
    finished_ = slope >= settings_.curvature * start_.slope;
  } else {
    not_finite_ += !is_finite(point);
    upper_ = point;
    next_step_ = inside_bracket();
  }
  const double reach = std::min(upper_.step - lower_.step, next_step_) * std::abs(start_.slope);
  finished_ = finished_ || evaluations_ >= settings_.max_evaluations || reach <= kNegligible * std::abs(start_.loss);
  return better;
}

bool LineSearch::decreases(const LinePoint& point) const {
  const double c1 = settings_.sufficient_decrease, c2 = settings_.curvature;
  if (lower_.step > 0 && point.loss > lower_.loss) return false;
  if (point.loss - start_.loss <= c1 * point.step * start_.slope) return true;
  return point.loss <= start_.loss + kLossRounding * std::abs(start_.loss) && point.slope >= c2 * start_.slope &&
         point.slope <= (2 * c1 - 1) * start_.slope;
}

double LineSearch::extended(const LinePoint& previous) const {
  const double wanted = cubic_minimum(previous, lower_) / lower_.step;
  const bool has_minimum = wanted > 1;  // false for NaN, too
  return lower_.step * (has_minimum ? std::clamp(wanted, kMinExtension, kMaxExtension) : kMaxExtension);
}

double LineSearch::inside_bracket() const {
  const double width = upper_.step - lower_.step;
  if (!is_finite(upper_)) return lower_.step + kNotFiniteShare * width;
  const double share = (cubic_minimum(lower_, upper_) - lower_.step) / width;
  return lower_.step + width * (std::isfinite(share) ? std::clamp(share, kMargin, 1 - kMargin) : 0.5);
}

}  // namespace minidl::optim
