#include <minidl/core/cuda/backend.h>
#include <minidl/core/tensor.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/cuda/channels.cuh>
#include <minidl/kernels/cuda/reduce.cuh>

#include <algorithm>
#include <vector>

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

constexpr int kMostVectors = kArrivals;  // x of a launch, and its products
constexpr int kMostRight = 4;            // y

/// Row r is x[r % count] times y[r / count].
template <typename T>
struct Products {
  const T* x[kMostVectors];
  const float* y[kMostRight];
  int64_t count;
  MINIDL_DEVICE double operator()(int64_t row, int64_t i) const {
    return load_double(x[row % count] + i) * load_double(y[row / count] + i);
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

template <typename T>
void dots_of(int64_t count, std::span<const T* const> x, std::span<const float* const> y, double* output) {
  const size_t left = std::min<size_t>(x.size(), kMostVectors);
  const size_t right = x.size() > left ? 1 : std::clamp<size_t>(kMostVectors / left, 1, kMostRight);
  const auto rows = static_cast<int64_t>(left * std::min(right, y.size()));
  Tensor workspace = Tensor::empty({reduce_workspace(count, rows)}, Dtype::f64, current_device());
  for (; !y.empty(); y = y.subspan(std::min(right, y.size()))) {
    for (size_t begin = 0; begin < x.size(); begin += left) {
      const auto of_x = x.subspan(begin, std::min(left, x.size() - begin));
      const auto of_y = y.first(std::min(right, y.size()));
      Products<T> products{{}, {}, std::ssize(of_x)};
      std::copy(of_x.begin(), of_x.end(), products.x);
      std::copy(of_y.begin(), of_y.end(), products.y);
      const auto some = static_cast<int64_t>(of_x.size() * of_y.size());
      reduce<Sum>(count, some, products, workspace.data<double>(), output, current_stream());
      output += some;
    }
  }
}

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
  return reduced(count, Products<float>{{x}, {y}, 1}).get();
}

void dots(int64_t count, std::span<const float* const> x, std::span<const float* const> y, double* output) {
  dots_of(count, x, y, output);
}

void dots_bf16(int64_t count, std::span<const uint16_t* const> x, std::span<const float* const> y, double* output) {
  dots_of(count, x, y, output);
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

void sum_per_channel(int64_t positions, int64_t channels, const float* x, float beta, float* output) {
  channel_sums<1>(ChannelCut(1, positions, channels, {x}), AddValue{x}, WriteChannelSum{beta, output});
}

}  // namespace minidl::cuda
