#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/reduce.h>
#include <minidl/optim/lbfgs_history.h>

#include <cmath>
#include <utility>
#include <vector>

namespace minidl::optim {
namespace {

constexpr double kMinCurvature = 1e-10;  // of s'y, relative to ||s|| ||y||
constexpr double kScaleFactor = 2;

}  // namespace

LbfgsHistory::LbfgsHistory(int capacity, Preconditioner preconditioner)
    : capacity_(static_cast<size_t>(capacity)), preconditioner_(std::move(preconditioner)) {
  MINIDL_CHECK(capacity >= 1, "[lbfgs] history is {}, it must be at least 1", capacity);
}

bool LbfgsHistory::add(Tensor s, Tensor y) {
  const double sy = dot(s, y);
  if (!(sy > kMinCurvature * std::sqrt(squared_norm(s) * squared_norm(y)))) return false;
  scale_ = kScaleFactor * sy / dot(y, precondition(y));
  if (pairs_.size() == capacity_) pairs_.pop_front();
  pairs_.push_back({std::move(s), std::move(y), sy});
  return true;
}

void LbfgsHistory::restart(double scale) {
  pairs_.clear();
  scale_ = scale;
}

Tensor LbfgsHistory::precondition(const Tensor& x) const {
  if (!preconditioner_) return x;
  Tensor output = Tensor::empty(x.shape(), Dtype::f32, x.device());
  preconditioner_(x, output);
  return output;
}

void LbfgsHistory::apply(const Tensor& gradient, Tensor& direction) const {
  affine(-1.0f, gradient, 0.0f, direction);
  std::vector<double> alpha(pairs_.size());
  for (size_t i = pairs_.size(); i-- > 0;) {
    const Pair& pair = pairs_[i];
    alpha[i] = dot(pair.s, direction) / pair.sy;
    add_scaled(static_cast<float>(-alpha[i]), pair.y, 1.0f, direction, direction);
  }
  affine(static_cast<float>(scale_), precondition(direction), 0.0f, direction);
  for (size_t i = 0; i < pairs_.size(); ++i) {
    const Pair& pair = pairs_[i];
    const double beta = dot(pair.y, direction) / pair.sy;
    add_scaled(static_cast<float>(alpha[i] - beta), pair.s, 1.0f, direction, direction);
  }
}

}  // namespace minidl::optim
