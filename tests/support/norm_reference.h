#pragma once
#include <minidl/core/tensor.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace minidl::test {

/// Normalisation in f64, from the definition: per group (a picture, or the whole batch) and channel over all positions.
/// weight and bias are [c], or [groups, c].
class NormReference {
 public:
  NormReference(const Tensor& input, int64_t groups, double eps)
      : groups_(groups),
        positions_(input.shape()[1] * input.shape()[2] * input.shape()[0] / groups),
        c_(input.shape()[3]) {
    x_.assign(input.span<float>().begin(), input.span<float>().end());
    mean.resize(static_cast<size_t>(groups * c_));
    variance.resize(mean.size());
    rstd.resize(mean.size());
    for_each([&](size_t i, size_t g) { mean[g] += x_[i] / static_cast<double>(positions_); });
    for_each([&](size_t i, size_t g) {
      variance[g] += (x_[i] - mean[g]) * (x_[i] - mean[g]) / static_cast<double>(positions_);
    });
    for (size_t g = 0; g < rstd.size(); ++g) rstd[g] = 1.0 / std::sqrt(variance[g] + eps);
  }

  /// Statistics from elsewhere: they count as constants.
  void fix_statistics(const Tensor& given_mean, const Tensor& given_variance, double eps) {
    mean.assign(given_mean.span<float>().begin(), given_mean.span<float>().end());
    variance.assign(given_variance.span<float>().begin(), given_variance.span<float>().end());
    for (size_t g = 0; g < rstd.size(); ++g) rstd[g] = 1.0 / std::sqrt(variance[g] + eps);
    fixed_ = true;
  }

  std::vector<double> forward(const Tensor& weight, const Tensor& bias, bool relu) const {
    std::vector<double> y(x_.size());
    for_each([&](size_t i, size_t g) {
      const size_t w = g % static_cast<size_t>(weight.count());
      y[i] = weight.span<float>()[w] * normalised(i, g) + bias.span<float>()[w];
      if (relu) y[i] = std::max(0.0, y[i]);
    });
    return y;
  }

  struct Gradients {
    std::vector<double> input, weight, bias;
  };
  Gradients backward(const Tensor& weight, const Tensor& grad_output) const {
    const size_t rows = static_cast<size_t>(weight.count());
    Gradients grads{std::vector<double>(x_.size()), std::vector<double>(rows), std::vector<double>(rows)};
    std::vector<double> sum(mean.size()), product(mean.size());
    for_each([&](size_t i, size_t g) {
      const double grad = grad_output.span<float>()[i];
      sum[g] += grad;
      product[g] += grad * normalised(i, g);
    });
    for (size_t g = 0; g < sum.size(); ++g) {
      grads.bias[g % rows] += sum[g];
      grads.weight[g % rows] += product[g];
    }
    const double count = static_cast<double>(positions_);
    for_each([&](size_t i, size_t g) {
      const double through_statistics = fixed_ ? 0.0 : sum[g] / count + normalised(i, g) * product[g] / count;
      grads.input[i] = weight.span<float>()[g % rows] * rstd[g] * (grad_output.span<float>()[i] - through_statistics);
    });
    return grads;
  }

  std::vector<double> mean, variance, rstd;  // [groups, c]

 private:
  double normalised(size_t i, size_t g) const { return (x_[i] - mean[g]) * rstd[g]; }

  template <typename F>
  void for_each(const F& f) const {
    for (int64_t i = 0; i < static_cast<int64_t>(x_.size()); ++i) {
      f(static_cast<size_t>(i), static_cast<size_t>(i / (positions_ * c_) * c_ + i % c_));
    }
  }

  std::vector<double> x_;
  int64_t groups_, positions_, c_;
  bool fixed_ = false;
};

}  // namespace minidl::test
