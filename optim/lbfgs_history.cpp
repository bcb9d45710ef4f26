#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/half.h>
#include <minidl/kernels/reduce.h>
#include <minidl/optim/lbfgs_history.h>

#include <cmath>
#include <utility>
#include <vector>

namespace minidl::optim {
namespace {

constexpr double kMinCurvature = 1e-10;  // of s'y, relative to ||s|| ||y||
constexpr double kScaleFactor = 2;

/// The f32 values of a stored tensor; itself when it holds them.
Tensor values_of(const Tensor& x) {
  if (x.dtype() == Dtype::f32) return x;
  Tensor values = Tensor::empty(x.shape(), Dtype::f32, x.device());
  from_half(x, values);
  return values;
}

}  // namespace

LbfgsHistory::LbfgsHistory(int capacity, Preconditioner preconditioner, Dtype dtype)
    : capacity_(static_cast<size_t>(capacity)), dtype_(dtype), preconditioner_(std::move(preconditioner)) {
  MINIDL_CHECK(capacity >= 1, "[lbfgs] history is {}, it must be at least 1", capacity);
  MINIDL_CHECK(dtype == Dtype::f32 || dtype == Dtype::bf16, "[lbfgs] history_dtype is {}, it must be f32 or bf16",
               to_string(dtype));
}

/// Of a pair's f32 or bf16, in the type that is kept; itself when it has that.
Tensor LbfgsHistory::stored(const Tensor& x) const {
  if (dtype_ == Dtype::f32) return values_of(x);
  if (x.dtype() == dtype_) return x;
  Tensor rounded = Tensor::empty(x.shape(), dtype_, x.device());
  to_half(x, rounded);
  return rounded;
}

bool LbfgsHistory::add(Tensor s, Tensor y) {
  s = stored(s);
  y = stored(y);
  const Tensor s_values = values_of(s), y_values = values_of(y);
  const double sy = dot(s_values, y_values);
  if (!(sy > kMinCurvature * std::sqrt(squared_norm(s_values) * squared_norm(y_values)))) return false;
  scale_ = kScaleFactor * sy / dot(y_values, precondition(y_values));
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

/// S'gradient; completes the columns of R, the newest in the same pass.
std::vector<double> LbfgsHistory::products_with(const Tensor& gradient) {
  const size_t pairs = s_.size();
  if (pairs == 0) return {};
  for (size_t j = 0; j + 1 < pairs; ++j) {
    if (columns_[j].size() == j + 1) continue;
    const Tensor y = values_of(y_[j]);
    std::vector<double> column(j + 1);
    dots(std::span(s_).first(j + 1), std::span(&y, 1), column);
    columns_[j] = std::move(column);
  }
  const Tensor vectors[] = {gradient, values_of(y_.back())};
  std::vector<double> both(2 * pairs), with_gradient(pairs), newest(pairs);
  dots(s_, vectors, both);
  for (size_t i = 0; i < pairs; ++i) {
    with_gradient[i] = both[2 * i];
    newest[i] = both[2 * i + 1];
  }
  columns_.back() = std::move(newest);
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
