#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/half.h>
#include <minidl/kernels/reduce.h>
#include <minidl/optim/lbfgs_history.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace minidl::optim {
namespace {

constexpr double kMinCurvature = 1e-10;  // of s'y, relative to ||s|| ||y||
constexpr double kScaleFactor = 2;

}  // namespace

LbfgsHistory::LbfgsHistory(int capacity, Preconditioner preconditioner, Dtype dtype)
    : capacity_(static_cast<size_t>(capacity)), dtype_(dtype), preconditioner_(std::move(preconditioner)) {
  MINIDL_CHECK(capacity >= 1, "[lbfgs] history is {}, it must be at least 1", capacity);
  MINIDL_CHECK(dtype == Dtype::f32 || dtype == Dtype::bf16, "[lbfgs] history_dtype is {}, it must be f32 or bf16",
               to_string(dtype));
}

/// Of a pair's f32 or bf16, in the type that is kept; itself when it has that.
Tensor LbfgsHistory::stored(const Tensor& x) const {
  if (dtype_ == Dtype::f32) return as_f32(x);
  if (x.dtype() == dtype_) return x;
  Tensor rounded = Tensor::empty(x.shape(), dtype_, x.device());
  to_half(x, rounded);
  return rounded;
}

LbfgsHistory::Pair LbfgsHistory::measure(const SearchPoint& point, Tensor& products) const {
  const Shape& shape = point.position.shape();
  const auto make = [&](Dtype dtype) { return Tensor::empty(shape, dtype, point.position.device()); };
  Pair pair{make(dtype_), make(dtype_), dtype_ == Dtype::f32 ? Tensor() : make(Dtype::f32)};
  Tensor measured = products.slice(0, kPairProducts);
  curvature_pair(point, pair.s, pair.y, pair.y_values, measured);
  const Tensor& y = pair.y_values ? pair.y_values : pair.y;
  Tensor last = products.slice(kPairProducts, kPairProducts + 1);
  if (preconditioner_.product) {
    preconditioner_.product(y, last);
  } else {
    const Tensor of_y = precondition(y);
    last = last.reshape({1, 1});
    dots(std::span(&of_y, 1), std::span(&y, 1), last);
  }
  return pair;
}

bool LbfgsHistory::add(const Pair& pair, const PointProducts& products) {
  if (!(products.sy > kMinCurvature * std::sqrt(products.ss * products.yy))) return false;
  scale_ = kScaleFactor * products.sy / products.y_my;
  if (s_.size() == capacity_) drop_oldest();
  s_.push_back(stored(pair.s));
  y_.push_back(stored(pair.y));
  newest_y_values_ = pair.y_values;
  return true;
}

bool LbfgsHistory::add(Tensor s, Tensor y) {
  s = stored(s);
  y = stored(y);
  const Tensor none = Tensor::zeros(s.shape(), Dtype::f32, s.device()), s_values = as_f32(s),
               y_values = as_f32(y);
  Tensor products = Tensor::empty({kPairProducts + 1}, Dtype::f64, s.device());
  measure({s_values, none, y_values, none, none}, products);
  return add({s, y, {}}, PointProducts::from(products.to(Device::cpu()).data<double>()));
}

void LbfgsHistory::drop_oldest() {
  s_.erase(s_.begin());
  y_.erase(y_.begin());
  if (known_ > 0) --known_;
  if (known_ == 0) return;
  // All columns one to the left and one up: the same distance in memory for each element.
  const int64_t room = columns_.shape()[0], distance = room + 1;
  Tensor moved = Tensor::zeros({room, room}, Dtype::f64, columns_.device());
  moved.reshape({room * room})
      .slice(0, room * room - distance)
      .copy_from(columns_.reshape({room * room}).slice(distance, room * room));
  columns_ = std::move(moved);
}

/// For a column of each pair; those that are known stay.
void LbfgsHistory::make_room(Device device) {
  const int64_t before = columns_ ? columns_.shape()[0] : 0;
  if (before >= std::ssize(s_)) return;
  const int64_t room = std::min(static_cast<int64_t>(capacity_), std::max<int64_t>(8, 2 * std::ssize(s_)));
  Tensor larger = Tensor::zeros({room, room}, Dtype::f64, device);
  for (int64_t j = 0; j < static_cast<int64_t>(known_); ++j) {
    larger.slice(j, j + 1).reshape({room}).slice(0, before).copy_from(columns_.slice(j, j + 1).reshape({before}));
  }
  columns_ = std::move(larger);
}

/// s_i'y_j for i <= j, to be written.
Tensor LbfgsHistory::column(size_t j) const {
  const auto at = static_cast<int64_t>(j);
  return columns_.slice(at, at + 1).reshape({columns_.shape()[1]}).slice(0, at + 1);
}

void LbfgsHistory::restart(double scale) {
  s_.clear();
  y_.clear();
  newest_y_values_ = {};
  known_ = 0;
  scale_ = scale;
}

Tensor LbfgsHistory::precondition(const Tensor& x) const {
  if (!preconditioner_) return x;
  Tensor output = Tensor::empty(x.shape(), Dtype::f32, x.device());
  preconditioner_.apply(x, 1.0f, output);
  return output;
}

/// output = factor * M x.
void LbfgsHistory::precondition(const Tensor& x, double factor, Tensor& output) const {
  if (preconditioner_) {
    preconditioner_.apply(x, static_cast<float>(factor), output);
  } else {
    affine(static_cast<float>(factor), x, 0.0f, output);
  }
}

/// R^-1 S'gradient; completes the columns of R, the newest in the same pass.
Tensor LbfgsHistory::first_loop(const Tensor& gradient) {
  const size_t pairs = s_.size(), newest = pairs - 1;
  make_room(gradient.device());
  for (; known_ < newest; ++known_) {
    const Tensor y = as_f32(y_[known_]);
    Tensor products = column(known_).reshape({1, static_cast<int64_t>(known_ + 1)});
    dots(std::span(s_).first(known_ + 1), std::span(&y, 1), products);
  }
  Tensor newest_y;
  if (known_ < pairs) {
    newest_y = std::exchange(newest_y_values_, {});
    if (!newest_y) newest_y = as_f32(y_.back());
  }
  Tensor a = Tensor::empty({static_cast<int64_t>(pairs)}, Dtype::f64, gradient.device());
  lbfgs_first_loop(s_, gradient, newest_y, columns_, a);
  known_ = pairs;
  return a;
}

void LbfgsHistory::apply(const SearchStart& search) {
  const Tensor& gradient = search.gradient;
  Tensor b = Tensor::empty({static_cast<int64_t>(s_.size())}, Dtype::f64, gradient.device());
  if (s_.empty()) {
    precondition(gradient, -scale_, search.direction);
  } else {
    const Tensor a = first_loop(gradient);
    Tensor rest = Tensor::empty(gradient.shape(), Dtype::f32, gradient.device());  // Y a - g
    combination(-1.0f, gradient, a, y_, rest);
    precondition(rest, scale_, search.direction);  // -r
    lbfgs_second_loop(y_, search.direction, columns_, a, b);
  }
  lbfgs_direction(search.direction, b, s_, search);
}

}  // namespace minidl::optim
