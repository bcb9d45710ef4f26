#include <minidl/core/cuda/backend.h>
#include <minidl/core/tensor.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/cuda/channels.cuh>
#include <minidl/kernels/cuda/products.cuh>

// The reductions of kernels/reduce.h. Those that return double or float wait for the device.
namespace minidl::cuda {
namespace {

struct Value {
  const float* x;
  MINIDL_DEVICE double operator()(int64_t, int64_t i) const { return load_double(x + i); }
};
struct Square {
  const float* x;
  MINIDL_DEVICE double operator()(int64_t, int64_t i) const {
    const double value = load_double(x + i);
    return value * value;
  }
};
struct Product {
  const float *x, *y;
  MINIDL_DEVICE double operator()(int64_t, int64_t i) const { return load_double(x + i) * load_double(y + i); }
};
struct Absolute {
  const float* x;
  MINIDL_DEVICE double operator()(int64_t, int64_t i) const { return fabs(load_double(x + i)); }
};
struct SquaredDifference {
  const float *x, *y;
  MINIDL_DEVICE double operator()(int64_t, int64_t i) const {
    const double difference = load_double(x + i) - load_double(y + i);
    return difference * difference;
  }
};

/// Writes the gradient as it goes.
struct SquaredDifferenceAndGradient {
  const float *x, *y;
  RawFactor a;
  BitSpan relu_mask;
  float* gradient;
  MINIDL_DEVICE double operator()(int64_t, int64_t i) const {
    const float of_x = load(x + i), of_y = load(y + i);
    const bool passes = !relu_mask.bits || is_set(relu_mask, i);
    store(gradient + i, passes ? times(a, of_x - of_y) : 0.0f);
    const double difference = static_cast<double>(of_x) - static_cast<double>(of_y);
    return difference * difference;
  }
};

/// sums[c] += x, in f64.
struct AddValue {
  const float* x;
  template <int kWidth>
  MINIDL_DEVICE auto adder(const ChannelPlace&, double (&sums)[1][kWidth]) const {
    return [input = x, &sums](int64_t element) {
      float values[kWidth];
      load_vector<kWidth>(input + element, values);
      for (int k = 0; k < kWidth; ++k) sums[0][k] += static_cast<double>(values[k]);
    };
  }
};

/// output = beta * output + the sum of a channel.
struct WriteChannelSum {
  float beta;
  float* output;
  MINIDL_DEVICE void operator()(int64_t, int channel, const double (&sums)[1]) const {
    const double before = beta == 0.0f ? 0.0 : static_cast<double>(beta) * static_cast<double>(load(output + channel));
    store(output + channel, static_cast<float>(before + sums[0]));
  }
};

/// One thread.
MINIDL_KERNEL(1, divide_kernel, double numerator, const double* number, double plus, double* quotient) {
  store(quotient, numerator / (load(number) + plus));
}

}  // namespace

void divide(double numerator, const double* number, double plus, double* quotient) {
  MINIDL_LAUNCH(divide_kernel, 1, 1, 0, current_stream(), numerator, number, plus, quotient);
}

Number sum(int64_t count, const float* x) {
  return reduced(count, Value{x});
}

double dot(int64_t count, const float* x, const float* y) {
  return reduced(count, Product{x, y}).get();
}

void dots(int64_t count, std::span<const float* const> x, std::span<const float* const> y, double* output) {
  products(count, x, y, output, NothingMore{});
}

void dots_bf16(int64_t count, std::span<const uint16_t* const> x, std::span<const float* const> y, double* output) {
  products(count, x, y, output, NothingMore{});
}

Number squared_norm(int64_t count, const float* x) {
  return reduced(count, Square{x});
}

double absolute_sum(int64_t count, const float* x) {
  return reduced(count, Absolute{x}).get();
}

float max_abs(int64_t count, const float* x) {
  return static_cast<float>(reduced<Maximum>(count, Absolute{x}).get());
}

Number squared_distance(int64_t count, const float* x, const float* y) {
  return reduced(count, SquaredDifference{x, y});
}

Number squared_distance_and_gradient(int64_t count, const float* x, const float* y, const RawFactor& a,
                                     BitSpan relu_mask, float* gradient) {
  return reduced(count, SquaredDifferenceAndGradient{x, y, a, relu_mask, gradient});
}

void sum_per_channel(int64_t positions, int64_t channels, const float* x, float beta, float* output) {
  channel_sums<1>(ChannelCut(1, positions, channels, {x}), AddValue{x}, WriteChannelSum{beta, output});
}

}  // namespace minidl::cuda
