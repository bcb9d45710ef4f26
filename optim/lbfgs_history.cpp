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
  if (s_.size() == capacity_) {
    s_.erase(s_.begin());
    y_.erase(y_.begin());
    columns_.erase(columns_.begin());
    for (size_t j = 0; j < columns_.size(); ++j) {
      if (columns_[j].size() > j + 1) columns_[j].erase(columns_[j].begin());
    }
  }
  s_.push_back(std::move(s));
  y_.push_back(std::move(y));
  columns_.push_back({sy});
  return true;
}

void LbfgsHistory::restart(double scale) {
  s_.clear();
  y_.clear();
  columns_.clear();
  scale_ = scale;
}

Tensor LbfgsHistory::precondition(const Tensor& x) const {
  if (!preconditioner_) return x;
  Tensor output = Tensor::empty(x.shape(), Dtype::f32, x.device());
  preconditioner_(x, output);
  return output;
}

/// S'gradient; completes the columns of R in the same pass.
std::vector<double> LbfgsHistory::products_with(const Tensor& gradient) {
  const size_t pairs = s_.size();
  std::vector<Tensor> vectors{gradient};
  std::vector<size_t> incomplete;
  for (size_t j = 0; j < pairs; ++j) {
    if (columns_[j].size() == j + 1) continue;
    incomplete.push_back(j);
    vectors.push_back(y_[j]);
  }
  std::vector<double> all(pairs * vectors.size()), with_gradient(pairs);
  dots(s_, vectors, all);
  for (size_t i = 0; i < pairs; ++i) with_gradient[i] = all[i * vectors.size()];
  for (size_t k = 0; k < incomplete.size(); ++k) {
    std::vector<double>& column = columns_[incomplete[k]];
    column.resize(incomplete[k] + 1);
    for (size_t i = 0; i < column.size(); ++i) column[i] = all[i * vectors.size() + k + 1];
  }
  return with_gradient;
}

void LbfgsHistory::apply(const Tensor& gradient, Tensor& direction) {
  const size_t pairs = s_.size();
  std::vector<double> a = products_with(gradient);
  for (size_t j = pairs; j-- > 0;) {
    a[j] /= columns_[j][j];
    for (size_t i = 0; i < j; ++i) a[i] -= a[j] * columns_[j][i];
  }
  affine(-1.0f, gradient, 0.0f, direction);
  add_combination(a, y_, direction);
  affine(static_cast<float>(scale_), precondition(direction), 0.0f, direction);  // -r

  std::vector<double> with_y(pairs), b_minus_a(pairs);
  dots(y_, std::span(&direction, 1), with_y);
  for (size_t j = 0; j < pairs; ++j) {
    double rest = -columns_[j][j] * a[j] - with_y[j];
    for (size_t i = 0; i < j; ++i) rest -= b_minus_a[i] * columns_[j][i];
    b_minus_a[j] = rest / columns_[j][j];
  }
  add_combination(b_minus_a, s_, direction);
}

}  // namespace minidl::optim
