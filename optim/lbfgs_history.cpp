#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/reduce.h>
#include <minidl/optim/lbfgs_history.h>

#include <cmath>
#include <vector>

namespace minidl::optim {
namespace {

constexpr double kMinCurvature = 1e-10;  // of s'y, relative to ||s|| ||y||
constexpr double kScaleFactor = 2;

}  // namespace

LbfgsHistory::LbfgsHistory(int capacity) : capacity_(static_cast<size_t>(capacity)) {
  MINIDL_CHECK(capacity >= 1, "[lbfgs] history is {}, it must be at least 1", capacity);
}

bool LbfgsHistory::add(Tensor s, Tensor y) {
  const double sy = dot(s, y), yy = squared_norm(y);
  if (!(sy > kMinCurvature * std::sqrt(squared_norm(s) * yy))) return false;
  if (pairs_.size() == capacity_) pairs_.pop_front();
  pairs_.push_back({std::move(s), std::move(y), sy});
  scale_ = kScaleFactor * sy / yy;
  return true;
}

void LbfgsHistory::restart(double scale) {
  pairs_.clear();
  scale_ = scale;
}

void LbfgsHistory::apply(const Tensor& gradient, Tensor& direction) const {
  affine(-1.0f, gradient, 0.0f, direction);
  std::vector<double> alpha(pairs_.size());
  for (size_t i = pairs_.size(); i-- > 0;) {
    const Pair& pair = pairs_[i];
    alpha[i] = dot(pair.s, direction) / pair.sy;
    add_scaled(static_cast<float>(-alpha[i]), pair.y, 1.0f, direction, direction);
  }
  affine(static_cast<float>(scale_), direction, 0.0f, direction);
  for (size_t i = 0; i < pairs_.size(); ++i) {
    const Pair& pair = pairs_[i];
    const double beta = dot(pair.y, direction) / pair.sy;
    add_scaled(static_cast<float>(alpha[i] - beta), pair.s, 1.0f, direction, direction);
  }
}

}  // namespace minidl::optim
