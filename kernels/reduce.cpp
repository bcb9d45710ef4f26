#include <minidl/core/profile.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/reduce.h>

#include <cmath>
#include <vector>

namespace minidl {
namespace {

Number sum_of(const Tensor& x) {
  check_f32(x, "sum", "x");
  const ProfileRange range("sum");
  return MINIDL_ON(x.device(), sum(x.count(), x.data<float>()));
}

Number squared_distance_of(const Tensor& x, const Tensor& y) {
  check_f32(x, "squared_distance", "x");
  check_shape(y, x.shape(), "squared_distance", "y");
  const ProfileRange range("squared_distance");
  return MINIDL_ON(common_device("squared_distance", x, y),
                   squared_distance(x.count(), x.data<float>(), y.data<float>()));
}

}  // namespace

double sum(const Tensor& x) {
  return sum_of(x).get();
}
Tensor sum_scalar(const Tensor& x, double factor) {
  return sum_of(x).scaled(factor);
}

double dot(const Tensor& x, const Tensor& y) {
  check_f32(x, "dot", "x");
  check_shape(y, x.shape(), "dot", "y");
  const ProfileRange range("dot");
  return MINIDL_ON(common_device("dot", x, y), dot(x.count(), x.data<float>(), y.data<float>()));
}

void dots(std::span<const Tensor> x, std::span<const Tensor> y, Tensor& output) {
  const Shape shape{std::ssize(y), std::ssize(x)};
  MINIDL_CHECK(output && output.dtype() == Dtype::f64 && output.shape() == shape,
               "[dots] output is {} of {}, it must be {} of f64", output.shape(), to_string(output.dtype()), shape);
  if (shape.count() == 0) return;
  const Tensor& first = x.front();
  check_vectors(x, first.shape(), "dots", "x");
  for (const Tensor& tensor : y) check_shape(tensor, first.shape(), "dots", "y");
  for (const Tensor& tensor : x) common_device("dots", first, tensor);
  for (const Tensor& tensor : y) common_device("dots", first, tensor);
  common_device("dots", first, output);
  const ProfileRange range("dots");
  if (first.dtype() == Dtype::bf16) {
    MINIDL_ON(first.device(),
              dots_bf16(first.count(), pointers<uint16_t>(x), pointers<float>(y), output.data<double>()));
  } else {
    MINIDL_ON(first.device(), dots(first.count(), pointers<float>(x), pointers<float>(y), output.data<double>()));
  }
}

Number squared_norm_number(const Tensor& x) {
  check_f32(x, "squared_norm", "x");
  const ProfileRange range("squared_norm");
  return MINIDL_ON(x.device(), squared_norm(x.count(), x.data<float>()));
}
Number squared_norm_number(std::span<const Tensor> x) {
  if (x.empty()) return 0.0;
  for (const Tensor& tensor : x) {
    check_f32(tensor, "squared_norm", "x");
    common_device("squared_norm", x.front(), tensor);
  }
  const ProfileRange range("squared_norm");
  return MINIDL_ON(x.front().device(), squared_norms(x));
}
double squared_norm(const Tensor& x) {
  return squared_norm_number(x).get();
}
Tensor squared_norm_scalar(const Tensor& x, double factor) {
  return squared_norm_number(x).scaled(factor);
}

double absolute_sum(const Tensor& x) {
  check_f32(x, "absolute_sum", "x");
  const ProfileRange range("absolute_sum");
  return MINIDL_ON(x.device(), absolute_sum(x.count(), x.data<float>()));
}

float max_abs(const Tensor& x) {
  check_f32(x, "max_abs", "x");
  const ProfileRange range("max_abs");
  return MINIDL_ON(x.device(), max_abs(x.count(), x.data<float>()));
}

double squared_distance(const Tensor& x, const Tensor& y) {
  return squared_distance_of(x, y).get();
}
Tensor squared_distance_scalar(const Tensor& x, const Tensor& y, double coefficient, const Factor& factor) {
  return squared_distance_of(x, y).scaled(coefficient, factor);
}

Tensor squared_distance_and_gradient(const Tensor& x, const Tensor& y, double coefficient, const Factor& factor,
                                     const Factor& a, const BitMask* relu_mask, Tensor& gradient) {
  const char* op = "squared_distance";
  check_f32(x, op, "x");
  check_shape(y, x.shape(), op, "y");
  check_shape(gradient, x.shape(), op, "gradient");
  if (relu_mask) check_mask(*relu_mask, x, op);
  const ProfileRange range("squared_distance_and_gradient");
  const BitSpan mask = relu_mask ? relu_mask->span() : BitSpan();
  const Number distance = MINIDL_ON(common_device(op, x, y, gradient),
                                    squared_distance_and_gradient(x.count(), x.data<float>(), y.data<float>(),
                                                                  raw_factor(a), mask, gradient.data<float>()));
  return distance.scaled(coefficient, factor);
}

bool all_finite(const Tensor& x) {
  check_f32(x, "all_finite", "x");
  const ProfileRange range("all_finite");
  return std::isfinite(MINIDL_ON(x.device(), max_abs(x.count(), x.data<float>())));
}

void sum_per_channel(const Tensor& x, float beta, Tensor& output) {
  check_f32(x, "sum_per_channel", "x");
  const int rank = x.shape().rank();
  MINIDL_CHECK(rank >= 1, "[sum_per_channel] x is a scalar, it must have a channel dimension");
  const int64_t channels = x.shape()[rank - 1];
  check_shape(output, {channels}, "sum_per_channel", "output");
  const ProfileRange range("sum_per_channel");
  if (channels == 0) return;
  MINIDL_ON(common_device("sum_per_channel", x, output),
            sum_per_channel(x.count() / channels, channels, x.data<float>(), beta, output.data<float>()));
}

void channel_moments(const Tensor& x, std::span<double> mean, std::span<double> variance) {
  check_f32(x, "channel_moments", "x");
  MINIDL_CHECK(x.shape().rank() >= 1 && x.count() > 0, "[channel_moments] x {} must have at least one position",
               x.shape());
  const int64_t channels = x.shape()[x.shape().rank() - 1];
  MINIDL_CHECK(std::ssize(mean) == channels && std::ssize(variance) == channels,
               "[channel_moments] mean and variance have {} and {} places for {} channels", mean.size(),
               variance.size(), channels);
  const ProfileRange range("channel_moments");
  MINIDL_ON(x.device(),
            channel_moments({x.count() / channels, channels}, x.data<float>(), mean.data(), variance.data()));
}

}  // namespace minidl
