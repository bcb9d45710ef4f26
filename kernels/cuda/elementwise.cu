#include <minidl/kernels/cuda/rounded_results.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/cuda/channels.cuh>

// The elementwise operations of kernels/elementwise.h: maps, but for the mask and the sum with a number of each channel.
namespace minidl::cuda {
namespace {

struct AddScaled {
  float a, b;
  MINIDL_DEVICE float operator()(int64_t, const float (&x)[2]) const { return a * x[0] + b * x[1]; }
};

struct Multiply {
  MINIDL_DEVICE float operator()(int64_t, const float (&x)[2]) const { return x[0] * x[1]; }
};

struct Affine {
  float a, b;
  MINIDL_DEVICE float operator()(int64_t, const float (&x)[1]) const { return a * x[0] + b; }
};

struct Relu {
  MINIDL_DEVICE float operator()(int64_t, const float (&x)[1]) const { return relu(x[0]); }
};

struct Tanh {
  float scale;
  MINIDL_DEVICE float operator()(int64_t, const float (&x)[1]) const { return scale * tanhf(x[0]); }
};

/// Of the output y and its gradient.
struct TanhGradient {
  float scale;
  MINIDL_DEVICE float operator()(int64_t, const float (&x)[2]) const { return x[1] * (scale - x[0] * x[0] / scale); }
};

struct Scaled {
  float a;
  MINIDL_DEVICE float operator()(int64_t, const float (&x)[1]) const { return a * x[0]; }
};

struct ScaledDifference {
  RawFactor a;
  MINIDL_DEVICE float operator()(int64_t, const float (&x)[2]) const {
    return times(a, x[0] - x[1]);
  }
};

/// a x + b[c], of channels.cuh.
struct AddPerChannel {
  float a;
  const float *x, *b;
  template <int kWidth>
  MINIDL_DEVICE auto mapper(const ChannelPlace& place) const {
    float summands[kWidth];
    load_vector<kWidth>(b + place.channel, summands);
    return [factor = a, input = x, summands](int64_t element, float(&results)[kWidth]) {
      load_vector<kWidth>(input + element, results);
      for (int k = 0; k < kWidth; ++k) results[k] = factor * results[k] + summands[k];
    };
  }
};

struct Clamp {
  float low, high;
  MINIDL_DEVICE float operator()(int64_t, const float (&x)[1]) const { return clamped(x[0], low, high); }
};

constexpr int kMaskThreads = 256;

/// One element a thread, eight threads a byte: byte i of the mask says which of x[8i] to x[8i + 7] are positive; bits
/// beyond the last element are 0.
MINIDL_KERNEL(kMaskThreads, positive_mask_kernel, int64_t count, const float* x, uint8_t* bits) {
  const int64_t i = int64_t{blockIdx.x} * kMaskThreads + threadIdx.x;
  const unsigned set = __ballot_sync(0xffffffffu, i < count && load(x + i) > 0.0f), lane = threadIdx.x % 32;
  if (lane % 8 == 0 && i < count) store(bits + i / 8, static_cast<uint8_t>(set >> lane));
}

}  // namespace

void add_scaled(int64_t count, float a, const float* x, float b, const float* y, float* output) {
  map<2>(count, {{x, y}}, AddScaled{a, b}, Output{output});
}

void multiply(int64_t count, const float* x, const float* y, float* output) {
  map<2>(count, {{x, y}}, Multiply{}, Output{output});
}

void affine(int64_t count, float a, const float* x, float b, float* output) {
  map<1>(count, {{x}}, Affine{a, b}, Output{output});
}

void relu_forward(int64_t count, const float* input, float* output) {
  map<1>(count, {{input}}, Relu{}, Output{output});
}

void positive_mask(int64_t count, const float* x, uint8_t* bits) {
  if (count == 0) return;
  MINIDL_LAUNCH(positive_mask_kernel, blocks_for(count, kMaskThreads), kMaskThreads, 0, current_stream(), count, x,
                bits);
}

void tanh_forward(int64_t count, const float* input, float scale, float* output) {
  map<1>(count, {{input}}, Tanh{scale}, Output{output});
}

void tanh_backward(int64_t count, const float* output, float scale, const float* grad_output,
                   const GradTarget& target) {
  map<2>(count, {{output, grad_output}}, TanhGradient{scale}, GradientOutput{target});
}

void accumulate_scaled(int64_t count, float a, const float* x, const GradTarget& target) {
  map<1>(count, {{x}}, Scaled{a}, GradientOutput{target});
}

void accumulate_difference(int64_t count, const RawFactor& a, const float* x, const float* y,
                           const GradTarget& target) {
  map<2>(count, {{x, y}}, ScaledDifference{a}, GradientOutput{target});
}

void accumulate_product(int64_t count, const float* x, const float* y, const GradTarget& target) {
  map<2>(count, {{x, y}}, Multiply{}, GradientOutput{target});
}

void add_per_channel(int64_t positions, int64_t channels, float a, const float* x, const float* b, float* output,
                     const Tensor* read_next) {
  const WindowProducts& products = products_now();
  if (read_next && products.channels(channels) > channels) {
    return leave_operand(*read_next, shifted_operand(products.dtype, positions, channels, a, x, b, output));
  }
  channel_map(ChannelCut(1, positions, channels, {x, b, output}), AddPerChannel{a, x, b}, Output{output});
}

void clamp(int64_t count, float* x, float low, float high) {
  map<1>(count, {{x}}, Clamp{low, high}, Output{x});
}

}  // namespace minidl::cuda
