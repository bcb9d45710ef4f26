#include <minidl/kernels/cuda/result_moments.h>
#include <minidl/kernels/cuda/rounded_results.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/cuda/channels.cuh>
#include <minidl/kernels/cuda/rounded_output.cuh>

// Instance and batch normalisation: sums over positions in f64 (channels.cuh), of which the last block makes a few
// numbers for each channel of a group, and a pass that applies these. Traffic forward: the input twice, or once and
// the moments that a convolution left of it (result_moments.h), the output once, and once more in 16 bits where a
// convolution reads it in these (rounded_results.h); backward: input and grad_output twice, grad_input once, likewise.
namespace minidl::cuda {
namespace {

constexpr int kEntryThreads = 128;

/// Of a channel: the sums of x - shift and its square, where shift is the first value, so that little is lost where the
/// variance is small beside the mean.
struct ValueMoments {
  const float* x;
  int64_t group_elements;

  MINIDL_DEVICE double shift(int64_t group, int channel) const {
    return static_cast<double>(load(x + group * group_elements + channel));
  }
  template <int kWidth>
  MINIDL_DEVICE auto adder(const ChannelPlace& place, double (&sums)[2][kWidth]) const {
    float shifts[kWidth];
    load_vector<kWidth>(x + place.group * group_elements + place.channel, shifts);
    return [input = x, shifts, &sums](int64_t element) {
      float values[kWidth];
      load_vector<kWidth>(input + element, values);
      for (int k = 0; k < kWidth; ++k) {
        const double difference = static_cast<double>(values[k]) - static_cast<double>(shifts[k]);
        sums[0][k] += difference;
        sums[1][k] += difference * difference;
      }
    };
  }
};

/// The same sums of tiles of positions [groups, tiles, c], where shift is the mean of the first one.
struct TiledMoments {
  const TileMoments* tiles;
  int64_t group_elements;

  MINIDL_DEVICE static double mean_of(const TileMoments& tile) {
    return static_cast<double>(tile.shift) + static_cast<double>(tile.mean);
  }
  MINIDL_DEVICE double shift(int64_t group, int channel) const {
    return mean_of(load(tiles + group * group_elements + channel));
  }
  template <int kWidth>
  MINIDL_DEVICE auto adder(const ChannelPlace& place, double (&sums)[2][kWidth]) const {
    double shifts[kWidth];
    for (int k = 0; k < kWidth; ++k) shifts[k] = shift(place.group, place.channel + k);
    return [input = tiles, shifts, &sums](int64_t element) {
      for (int k = 0; k < kWidth; ++k) {
        const TileMoments tile = load(input + element + k);
        const double difference = mean_of(tile) - shifts[k], sum = static_cast<double>(tile.count) * difference;
        sums[0][k] += sum;
        sums[1][k] += static_cast<double>(tile.squares) + sum * difference;
      }
    };
  }
};

struct MeanAndVariance {
  double mean, variance;  // biased
};
/// Of a channel of a group of `positions`, from its sums.
template <typename Moments>
MINIDL_DEVICE MeanAndVariance moments_of(int64_t positions, const Moments& moments, int64_t group, int channel,
                                         const double (&sums)[2]) {
  const double count = static_cast<double>(positions), mean = sums[0] / count;
  const double variance = sums[1] / count - mean * mean;
  return {moments.shift(group, channel) + mean, fmax(variance, 0.0)};
}

/// output = (x - mean) * scale + shift + residual, then relu if `with_relu`; the three are [groups, c], the residual is
/// nullptr where there is none.
struct Affine {
  const float *x, *mean, *scale, *shift, *residual;
  bool with_relu;
  template <int kWidth>
  MINIDL_DEVICE auto mapper(const ChannelPlace& place) const {
    float means[kWidth], scales[kWidth], shifts[kWidth];
    load_vector<kWidth>(mean + place.entry, means);
    load_vector<kWidth>(scale + place.entry, scales);
    load_vector<kWidth>(shift + place.entry, shifts);
    return [input = x, added = residual, cut = with_relu, means, scales, shifts](int64_t element,
                                                                                 float(&results)[kWidth]) {
      float addends[kWidth] = {};
      load_vector<kWidth>(input + element, results);
      if (added) load_vector<kWidth>(added + element, addends);
      for (int k = 0; k < kWidth; ++k) {
        results[k] = (results[k] - means[k]) * scales[k] + shifts[k] + addends[k];
        if (cut) results[k] = relu(results[k]);
      }
    };
  }
};

/// Of weight or bias: the entry that channel `channel` of a group uses.
MINIDL_DEVICE float parameter_of(const NormShape& shape, const float* parameter, int64_t group, int channel) {
  return load(parameter + (shape.weight_per_group ? group * shape.c : 0) + channel);
}

/// running = (1 - momentum) * running + momentum * batch.
MINIDL_DEVICE void update_running(float momentum, double batch, float* running) {
  const double part = static_cast<double>(momentum);
  store(running, static_cast<float>((1.0 - part) * static_cast<double>(load(running)) + part * batch));
}

struct NormParameters {
  const float *weight, *bias;
  float eps;

  explicit NormParameters(const NormForward& args)
      : weight(args.weight.data<float>()), bias(args.bias.data<float>()), eps(args.eps) {}
};

/// Of channels of a group: statistics, and the factors that the pass applies; all [groups, c].
struct NormFactors {
  float *mean, *rstd, *scale, *shift;
};

/// Makes them of a channel's sums.
template <typename Moments>
struct MakeFactors {
  NormShape shape;
  NormParameters args;
  Moments moments;
  NormRunning running;
  NormFactors factors;

  MINIDL_DEVICE void operator()(int64_t group, int channel, const double (&sums)[2]) const {
    const int64_t entry = group * shape.c + channel;
    const MeanAndVariance exact = moments_of(shape.positions, moments, group, channel, sums);
    const double exact_rstd = 1.0 / sqrt(exact.variance + static_cast<double>(args.eps));
    const auto saved_mean = static_cast<float>(exact.mean);
    const auto weight = static_cast<double>(parameter_of(shape, args.weight, group, channel));
    store(factors.mean + entry, saved_mean);
    store(factors.rstd + entry, static_cast<float>(exact_rstd));
    store(factors.scale + entry, static_cast<float>(weight * exact_rstd));
    // What the mean lost when it was rounded to f32 goes into the shift: it matters when the variance is small beside
    // it.
    const double lost = exact.mean - static_cast<double>(saved_mean);
    const auto bias = static_cast<double>(parameter_of(shape, args.bias, group, channel));
    store(factors.shift + entry, static_cast<float>(bias - lost * weight * exact_rstd));
    if (!running.mean) return;
    const double count = static_cast<double>(shape.positions);
    update_running(running.momentum, static_cast<double>(saved_mean), running.mean + entry);
    update_running(running.momentum, exact.variance * (count / fmax(count - 1.0, 1.0)), running.variance + entry);
  }
};

struct WriteMoments {
  int64_t positions;
  ValueMoments moments;
  double *mean, *variance;

  MINIDL_DEVICE void operator()(int64_t group, int channel, const double (&sums)[2]) const {
    const MeanAndVariance exact = moments_of(positions, moments, group, channel, sums);
    store(mean + channel, exact.mean);
    store(variance + channel, exact.variance);
  }
};

MINIDL_KERNEL(kEntryThreads, norm_fixed_kernel, int64_t channels, NormParameters args, const float* rstd, float* scale,
              float* shift) {
  const int64_t channel = int64_t{blockIdx.x} * kEntryThreads + threadIdx.x;
  if (channel >= channels) return;
  store(scale + channel, load(args.weight + channel) * load(rstd + channel));
  store(shift + channel, load(args.bias + channel));
}

MINIDL_KERNEL(kEntryThreads, reciprocal_deviation_kernel, int64_t count, const float* variance, float eps,
              float* rstd) {
  const int64_t i = int64_t{blockIdx.x} * kEntryThreads + threadIdx.x;
  if (i >= count) return;
  store(rstd + i, static_cast<float>(1.0 / sqrt(static_cast<double>(load(variance + i)) + static_cast<double>(eps))));
}

/// The sums of g, of g * (x - mean) and of x - mean.
struct GradientSums {
  const float *x, *mean, *g;
  template <int kWidth>
  MINIDL_DEVICE auto adder(const ChannelPlace& place, double (&sums)[3][kWidth]) const {
    float means[kWidth];
    load_vector<kWidth>(mean + place.entry, means);
    return [input = x, grad_output = g, means, &sums](int64_t element) {
      float values[kWidth], grads[kWidth];
      load_vector<kWidth>(input + element, values);
      load_vector<kWidth>(grad_output + element, grads);
      for (int k = 0; k < kWidth; ++k) {
        const double difference = static_cast<double>(values[k]) - static_cast<double>(means[k]);
        const double grad = static_cast<double>(grads[k]);
        sums[0][k] += grad;
        sums[1][k] += grad * difference;
        sums[2][k] += difference;
      }
    };
  }
};

/// The gradient scale * (g - (x - mean) * slope - offset); all four [groups, c].
struct Gradient {
  const float *x, *g, *mean, *scale, *slope, *offset;
  template <int kWidth>
  MINIDL_DEVICE auto mapper(const ChannelPlace& place) const {
    float means[kWidth], scales[kWidth], slopes[kWidth], offsets[kWidth];
    load_vector<kWidth>(mean + place.entry, means);
    load_vector<kWidth>(scale + place.entry, scales);
    load_vector<kWidth>(slope + place.entry, slopes);
    load_vector<kWidth>(offset + place.entry, offsets);
    return [input = x, grad_output = g, means, scales, slopes, offsets](int64_t element, float(&results)[kWidth]) {
      float values[kWidth];
      load_vector<kWidth>(grad_output + element, results);
      load_vector<kWidth>(input + element, values);
      for (int k = 0; k < kWidth; ++k) {
        results[k] = scales[k] * (results[k] - (values[k] - means[k]) * slopes[k] - offsets[k]);
      }
    };
  }
};

/// With x^ = (x - mean) * rstd, N positions and sums over them: grad_bias = sum g, grad_weight = sum g x^, grad_input =
/// weight * rstd * (g - (sum g) / N - x^ (sum g x^) / N); with fixed statistics grad_input = weight * rstd * g. The
/// saved mean is rounded to f32; the mean of x - mean, which would be zero, corrects it. Writes sums [2, groups, c], of
/// g and of g x^.
struct MakeGradientFactors {
  NormShape shape;
  NormBackward args;
  double* sums;
  float *scale, *slope, *offset;

  MINIDL_DEVICE void operator()(int64_t group, int channel, const double (&of)[3]) const {
    const int64_t entries = shape.groups * shape.c, entry = group * shape.c + channel;
    const double count = static_cast<double>(shape.positions), inverse = args.fixed_statistics ? 0.0 : 1.0 / count;
    const double rstd = static_cast<double>(load(args.rstd + entry));
    const double deviation = args.fixed_statistics ? 0.0 : of[2] / count;
    const double product = (of[1] - deviation * of[0]) * rstd;
    store(sums + entry, of[0]);
    store(sums + entries + entry, product);
    store(scale + entry,
          static_cast<float>(static_cast<double>(parameter_of(shape, args.weight, group, channel)) * rstd));
    store(slope + entry, static_cast<float>(product * rstd * inverse));
    store(offset + entry, static_cast<float>((of[0] - deviation * product * rstd) * inverse));
  }
};

struct ParameterGradient {
  const double* sums;  // [groups, c]
  float beta;
  float* grad;  // nullptr: not wanted
};
/// grad = beta * grad + the sums of all groups, or of each its own; of the weight, and of the bias.
MINIDL_KERNEL(kEntryThreads, norm_parameter_kernel, NormShape shape, ParameterGradient weight, ParameterGradient bias) {
  const auto [sums, beta, grad] = blockIdx.y == 0 ? weight : bias;
  const int64_t rows = shape.weight_per_group ? shape.groups : 1;
  const int64_t i = int64_t{blockIdx.x} * kEntryThreads + threadIdx.x;
  if (!grad || i >= rows * shape.c) return;
  double total = 0.0;
  for (int64_t entry = i; entry < shape.groups * shape.c; entry += rows * shape.c) total += load(sums + entry);
  store(grad + i, static_cast<float>(
                      beta == 0.0f ? total : static_cast<double>(beta) * static_cast<double>(load(grad + i)) + total));
}

unsigned entry_blocks(const NormShape& shape) {
  return blocks_for(shape.groups * shape.c, kEntryThreads);
}

/// Factors [groups, c]. What a ReLU or a sum with a residual gives mostly goes into a convolution.
void apply_factors(const NormShape& shape, const NormForward& args, const float* mean, const float* scale,
                   const float* shift) {
  const float* const input = args.input.data<float>();
  const bool relu = args.activation == Activation::relu, whole = args.output.dtype() == Dtype::f32;
  float* const output = whole ? args.output.data<float>() : nullptr;
  const WindowProducts& products = products_now();
  RoundedResults left(products, &args.output, whole && (relu || args.residual));
  uint16_t* const rounded = whole ? left.data() : static_cast<uint16_t*>(args.output.raw());
  const ChannelCut cut(shape.groups, shape.positions, shape.c, {input, output, rounded, mean, args.residual});
  const Affine affine{input, mean, scale, shift, args.residual, relu};
  if (!rounded) return channel_map(cut, affine, Output{output});
  with_half_format(whole ? products.dtype : args.output.dtype(), [&](auto format) {
    channel_map(cut, affine, RoundedOutput<decltype(format)>{output, rounded});
  });
  left.keep();
}

template <typename Moments>
void compute_factors(const ChannelCut& cut, const NormShape& shape, const NormForward& args, const Moments& moments,
                     const NormRunning& running, const NormFactors& factors) {
  channel_sums<2>(cut, moments, MakeFactors<Moments>{shape, NormParameters(args), moments, running, factors});
}

}  // namespace

void normalize_forward(const NormShape& shape, const NormForward& args, const NormRunning& running, float* mean,
                       float* rstd) {
  const float* const input = args.input.data<float>();
  Tensor map = Tensor::empty({2, shape.groups, shape.c}, Dtype::f32, current_device());
  float *scale = map.data<float>(), *shift = scale + shape.groups * shape.c;
  const NormFactors factors{mean, rstd, scale, shift};
  if (const Tensor tiles = moments_left(args.input)) {
    const int64_t of_group = tiles.shape()[0] * tiles.shape()[1] / shape.groups;
    const TiledMoments moments{static_cast<const TileMoments*>(tiles.raw()), of_group * shape.c};
    compute_factors(ChannelCut(shape.groups, of_group, shape.c, 1), shape, args, moments, running, factors);
  } else {
    const ValueMoments moments{input, shape.positions * shape.c};
    compute_factors(ChannelCut(shape.groups, shape.positions, shape.c, {input}), shape, args, moments, running,
                    factors);
  }
  apply_factors(shape, args, mean, scale, shift);
}

void normalize_forward_fixed(const NormShape& shape, const NormForward& args, const float* mean, const float* rstd) {
  Tensor map = Tensor::empty({2, shape.c}, Dtype::f32, current_device());
  float *scale = map.data<float>(), *shift = scale + shape.c;
  MINIDL_LAUNCH(norm_fixed_kernel, blocks_for(shape.c, kEntryThreads), kEntryThreads, 0, current_stream(), shape.c,
                NormParameters(args), rstd, scale, shift);
  apply_factors(shape, args, mean, scale, shift);
}

void channel_moments(const ChannelRows& rows, const float* x, double* mean, double* variance) {
  const ChannelCut cut(1, rows.positions, rows.c, {x});
  const ValueMoments moments{x, rows.positions * rows.c};
  Tensor results = Tensor::empty({2, rows.c}, Dtype::f64, current_device());
  double* const means = results.data<double>();
  channel_sums<2>(cut, moments, WriteMoments{rows.positions, moments, means, means + rows.c});
  const Tensor host = results.to(Device::cpu());
  std::copy_n(host.data<double>(), rows.c, mean);
  std::copy_n(host.data<double>() + rows.c, rows.c, variance);
}

void reciprocal_deviation(int64_t count, const float* variance, float eps, float* rstd) {
  MINIDL_LAUNCH(reciprocal_deviation_kernel, blocks_for(count, kEntryThreads), kEntryThreads, 0, current_stream(),
                count, variance, eps, rstd);
}

void normalize_backward(const NormShape& shape, const NormBackward& args, const NormTargets& targets) {
  const int64_t entries = shape.groups * shape.c;
  const ChannelCut cut(shape.groups, shape.positions, shape.c,
                       {args.input, args.grad_output, args.mean, targets.input.grad});
  Tensor sums = Tensor::empty({2, entries}, Dtype::f64, current_device());
  Tensor map = Tensor::empty({3, entries}, Dtype::f32, current_device());
  double *grad_sums = sums.data<double>(), *products = grad_sums + entries;
  float *scale = map.data<float>(), *slope = scale + entries, *offset = slope + entries;
  channel_sums<3>(cut, GradientSums{args.input, args.mean, args.grad_output},
                  MakeGradientFactors{shape, args, grad_sums, scale, slope, offset});
  if (targets.input.grad) {
    const Gradient gradient{args.input, args.grad_output, args.mean, scale, slope, offset};
    const GradientOutput output{targets.input};
    RoundedResults left(products_now(), targets.written, true);
    if (left.data()) {
      with_half_format(products_now().dtype, [&](auto format) {
        channel_map(cut, gradient, RoundedGradient<decltype(format)>{output, left.data()});
      });
    } else {
      channel_map(cut, gradient, output);
    }
    left.keep();
  }
  if (!targets.weight && !targets.bias) return;
  MINIDL_LAUNCH(norm_parameter_kernel, dim3(entry_blocks(shape), 2), kEntryThreads, 0, current_stream(), shape,
                ParameterGradient{products, targets.weight_beta, targets.weight},
                ParameterGradient{grad_sums, targets.bias_beta, targets.bias});
}

}  // namespace minidl::cuda
