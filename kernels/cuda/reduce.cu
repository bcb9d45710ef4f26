#include <minidl/core/cuda/backend.h>
#include <minidl/core/tensor.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/cuda/arrays.cuh>
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

constexpr int kMostArrays = 128;  // of a launch

struct SquaredArrays {
  const float* x[kMostArrays];
  int64_t count[kMostArrays];
  unsigned first_block[kMostArrays];
  int arrays;
};

/// A block does kReduceElements of one array, the first one also the sum of launches `before`, unless that is nullptr.
MINIDL_KERNEL(kReduceThreads, squared_norms_kernel, SquaredArrays all, const double* before, double* partials,
              unsigned* arrived, double* result) {
  const int which = array_of_block(all.first_block, all.arrays, blockIdx.x);
  const int64_t begin = int64_t{blockIdx.x - all.first_block[which]} * kReduceElements;
  const int64_t end = min(begin + kReduceElements, all.count[which]);
  const Square square{all.x[which]};
  double sums[1] = {};
  if (before && blockIdx.x == 0 && threadIdx.x == 0) sums[0] = load(before);
  for (int64_t i = begin + threadIdx.x; i < end; i += kReduceThreads) sums[0] += square(0, i);
  reduce_sums(sums, partials, arrived, result);
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

Number squared_norms(std::span<const Tensor> x) {
  const auto blocks_of = [](const Tensor& tensor) { return std::max(1u, blocks_for(tensor.count(), kReduceElements)); };
  int64_t partials = 0;
  for (const Tensor& tensor : x) partials += blocks_of(tensor);
  Tensor memory = Tensor::empty({partials + 1}, Dtype::f64, current_device());
  double* const workspace = memory.data<double>();
  double* const result = workspace + partials;
  for (size_t begin = 0; begin < x.size(); begin += kMostArrays) {
    const auto some = x.subspan(begin, std::min<size_t>(kMostArrays, x.size() - begin));
    SquaredArrays all{{}, {}, {}, static_cast<int>(some.size())};
    unsigned blocks = 0;
    for (size_t i = 0; i < some.size(); ++i) {
      all.x[i] = some[i].data<float>();
      all.count[i] = some[i].count();
      all.first_block[i] = blocks;
      blocks += blocks_of(some[i]);
    }
    MINIDL_LAUNCH(squared_norms_kernel, blocks, kReduceThreads, 0, current_stream(), all, begin == 0 ? nullptr : result,
                  workspace, arrivals(), result);
  }
  return Number(memory.slice(partials, partials + 1));
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
