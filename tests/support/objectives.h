#pragma once
#include <minidl/core/tensor.h>
#include <support/compare.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>
#include <utility>
#include <vector>

namespace minidl::test {

using Vector = std::vector<double>;

/// Loss and gradient in f64 of a position; counts its calls and remembers where it was asked.
class Objective {
 public:
  using Function = std::function<double(const Vector& x, Vector& gradient)>;

  explicit Objective(Function function, double scale = 1) : function_(std::move(function)), scale_(scale) {}

  double operator()(const Tensor& x, Tensor& gradient) {
    const Vector position = to_doubles(x);
    Vector g(position.size(), 0.0);
    const double loss = function_(position, g);
    std::transform(g.begin(), g.end(), gradient.data<float>(),
                   [&](double value) { return static_cast<float>(scale_ * value); });
    ++evaluations;
    is_new = positions_.insert(position).second && is_new;
    return scale_ * loss;
  }

  int evaluations = 0;
  bool is_new = true;  // no position was evaluated twice

 private:
  Function function_;
  double scale_;
  std::set<Vector> positions_;
};

/// Coupled, with curvatures from 1 to `condition`; 0 at its minimum, where every x is 2.
inline Objective::Function quadratic(size_t count, double condition) {
  return [=](const Vector& x, Vector& g) {
    double loss = 0;
    for (size_t i = 0; i < count; ++i) {
      const size_t next = (i + 1) % count;
      const double curvature = std::pow(condition, static_cast<double>(i) / static_cast<double>(count - 1));
      const double z = x[i] + 0.5 * x[next] - 3;
      loss += 0.5 * curvature * z * z;
      g[i] += curvature * z;
      g[next] += 0.5 * curvature * z;
    }
    return loss;
  };
}

inline double rosenbrock(const Vector& x, Vector& g) {
  double loss = 0;
  for (size_t i = 0; i + 1 < x.size(); ++i) {
    const double valley = x[i + 1] - x[i] * x[i], rest = 1 - x[i];
    loss += 100 * valley * valley + rest * rest;
    g[i] += -400 * valley * x[i] - 2 * rest;
    g[i + 1] += 200 * valley;
  }
  return loss;
}

/// c'x - sum of log x: NaN unless all x > 0; the minimum is at x = 1/c.
inline double barrier(const Vector& x, Vector& g) {
  double loss = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double c = 1.0 + static_cast<double>(i);
    loss += c * x[i] - std::log(x[i]);
    g[i] = c - 1 / x[i];
  }
  return loss;
}

inline Tensor start_of_rosenbrock(int64_t count) {
  Tensor x = Tensor::full({count}, -1.2f);
  for (int64_t i = 1; i < count; i += 2) x.data<float>()[i] = 1.0f;
  return x;
}

}  // namespace minidl::test
