#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/cuda/channels.cuh>

// Instance and batch normalisation: sums over positions in f64 (channels.cuh), a few numbers for each channel of a
// group made of them by one thread each, and a pass that applies these. Traffic forward: the input twice, the output
// once; backward: input and grad_output twice, grad_input once.
namespace minidl::cuda {
namespace {

constexpr int kEntryThreads = 128;

/// Of a channel: the sums of x - shift and its square, where shift is the first value, so that little is lost where the
/// variance is small beside the mean.
struct Moments {
  const float* x;
  int64_t group_elements;
  int c;

  MINIDL_DEVICE float shift(int64_t group, int channel) const { return load(x + group * group_elements + channel); }
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

struct MeanAndVariance {
  double mean, variance;  // biased
};
MINIDL_DEVICE MeanAndVariance moments_of(const ChannelCut& cut, const Moments& moments, const double* partials,
                                         int64_t group, int channel) {
  const double count = static_cast<double>(cut.positions);
  const double mean = chunk_sum<2>(cut, partials, group, 0, channel) / count;
  const double variance = chunk_sum<2>(cut, partials, group, 1, channel) / count - mean * mean;
  return {static_cast<double>(moments.shift(group, channel)) + mean, fmax(variance, 0.0)};
}

/// output = (x - mean) * scale + shift, then relu if `with_relu`; the three are [groups, c].
struct Affine {
  const float *x, *mean, *scale, *shift;
  bool with_relu;
  template <int kWidth>
  MINIDL_DEVICE auto mapper(const ChannelPlace& place) const {
    float means[kWidth], scales[kWidth], shifts[kWidth];
    load_vector<kWidth>(mean + place.entry, means);
    load_vector<kWidth>(scale + place.entry, scales);
    load_vector<kWidth>(shift + place.entry, shifts);
    return [input = x, cut = with_relu, means, scales, shifts](int64_t element, float(&results)[kWidth]) {
      load_vector<kWidth>(input + element, results);
      for (int k = 0; k < kWidth; ++k) {
        results[k] = (results[k] - means[k]) * scales[k] + shifts[k];
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

MINIDL_KERNEL(kEntryThreads, norm_statistics_kernel, ChannelCut cut, NormShape shape, NormForward args, Moments moments,
              const double* partials, NormRunning running, float* mean, float* rstd, float* scale, float* shift) {
  const int64_t entry = int64_t{blockIdx.x} * kEntryThreads + threadIdx.x;
  if (entry >= shape.groups * shape.c) return;
  const int64_t group = entry / shape.c;
  const int channel = static_cast<int>(entry % shape.c);
  const MeanAndVariance exact = moments_of(cut, moments, partials, group, channel);
  const double exact_rstd = 1.0 / sqrt(exact.variance + static_cast<double>(args.eps));
  const auto saved_mean = static_cast<float>(exact.mean);
  const auto weight = static_cast<double>(parameter_of(shape, args.weight, group, channel));
  store(mean + entry, saved_mean);
  store(rstd + entry, static_cast<float>(exact_rstd));
  store(scale + entry, static_cast<float>(weight * exact_rstd));
  // What the mean lost when it was rounded to f32 goes into the shift: it matters when the variance is small beside it.
  const double lost = exact.mean - static_cast<double>(saved_mean);
  store(shift + entry, static_cast<float>(static_cast<double>(parameter_of(shape, args.bias, group, channel)) -
                                          lost * weight * exact_rstd));
  if (!running.mean) return;
  const double count = static_cast<double>(shape.positions);
  update_running(running.momentum, static_cast<double>(saved_mean), running.mean + entry);
  update_running(running.momentum, exact.variance * (count / fmax(count - 1.0, 1.0)), running.variance + entry);
}

MINIDL_KERNEL(kEntryThreads, channel_moments_kernel, ChannelCut cut, Moments moments, const double* partials,
              double* mean, double* variance) {
  const int channel = static_cast<int>(blockIdx.x) * kEntryThreads + static_cast<int>(threadIdx.x);
  if (channel >= cut.c) return;
  const MeanAndVariance exact = moments_of(cut, moments, partials, 0, channel);
  store(mean + channel, exact.mean);
  store(variance + channel, exact.variance);
}

MINIDL_KERNEL(kEntryThreads, norm_fixed_kernel, NormShape shape, NormForward args, const float* rstd, float* scale,
              float* shift) {
  const int64_t entry = int64_t{blockIdx.x} * kEntryThreads + threadIdx.x;
  if (entry >= shape.groups * shape.c) return;
  const int64_t group = entry / shape.c;
  const int channel = static_cast<int>(entry % shape.c);
  store(scale + entry, parameter_of(shape, args.weight, group, channel) * load(rstd + entry));
  store(shift + entry, parameter_of(shape, args.bias, group, channel));
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
MINIDL_KERNEL(kEntryThreads, norm_gradient_kernel, ChannelCut cut, NormShape shape, NormBackward args,
              const double* partials, double* sums, float* scale, float* slope, float* offset) {
  const int64_t entries = shape.groups * shape.c, entry = int64_t{blockIdx.x} * kEntryThreads + threadIdx.x;
  if (entry >= entries) return;
  const int64_t group = entry / shape.c;
  const int channel = static_cast<int>(entry % shape.c);
  const double count = static_cast<double>(shape.positions), inverse = args.fixed_statistics ? 0.0 : 1.0 / count;
  const double rstd = static_cast<double>(load(args.rstd + entry));
  const double grad_sum = chunk_sum<3>(cut, partials, group, 0, channel);
  const double deviation = args.fixed_statistics ? 0.0 : chunk_sum<3>(cut, partials, group, 2, channel) / count;
  const double product = (chunk_sum<3>(cut, partials, group, 1, channel) - deviation * grad_sum) * rstd;
  store(sums + entry, grad_sum);
  store(sums + entries + entry, product);
  store(scale + entry,
        static_cast<float>(static_cast<double>(parameter_of(shape, args.weight, group, channel)) * rstd));
  store(slope + entry, static_cast<float>(product * rstd * inverse));
  store(offset + entry, static_cast<float>((grad_sum - deviation * product * rstd) * inverse));
}

/// grad = beta * grad + the sums of all groups, or of each its own.
MINIDL_KERNEL(kEntryThreads, norm_parameter_kernel, NormShape shape, const double* sums, float beta, float* grad) {
  const int64_t rows = shape.weight_per_group ? shape.groups : 1;
  const int64_t i = int64_t{blockIdx.x} * kEntryThreads + threadIdx.x;
  if (i >= rows * shape.c) return;
  double total = 0.0;
  for (int64_t entry = i; entry < shape.groups * shape.c; entry += rows * shape.c) total += load(sums + entry);
  store(grad + i, static_cast<float>(
                      beta == 0.0f ? total : static_cast<double>(beta) * static_cast<double>(load(grad + i)) + total));
}

unsigned entry_blocks(const NormShape& shape) {
  return blocks_for(shape.groups * shape.c, kEntryThreads);
}

}  // namespace

void normalize_forward(const NormShape& shape, const NormForward& args, const NormRunning& running, float* mean,
                       float* rstd) {
  const ChannelCut cut(shape.groups, shape.positions, shape.c, {args.input, args.output, mean});
  const Moments moments{args.input, shape.positions * shape.c, cut.c};
  const Tensor partials = channel_sums<2>(cut, moments);
  Tensor map = Tensor::empty({2, shape.groups, shape.c}, Dtype::f32, current_device());
  float *scale = map.data<float>(), *shift = scale + shape.groups * shape.c;
  MINIDL_LAUNCH(norm_statistics_kernel, entry_blocks(shape), kEntryThreads, 0, current_stream(), cut, shape, args,
                moments, partials.data<double>(), running, mean, rstd, scale, shift);
  channel_map(cut, Affine{args.input, mean, scale, shift, args.activation == Activation::relu}, Output{args.output});
}

void normalize_forward_fixed(const NormShape& shape, const NormForward& args, const float* mean, const float* rstd) {
  const ChannelCut cut(shape.groups, shape.positions, shape.c, {args.input, args.output, mean});
  Tensor map = Tensor::empty({2, shape.groups, shape.c}, Dtype::f32, current_device());
  float *scale = map.data<float>(), *shift = scale + shape.groups * shape.c;
  MINIDL_LAUNCH(norm_fixed_kernel, entry_blocks(shape), kEntryThreads, 0, current_stream(), shape, args, rstd, scale,
                shift);
  channel_map(cut, Affine{args.input, mean, scale, shift, args.activation == Activation::relu}, Output{args.output});
}

void channel_moments(const ChannelRows& rows, const float* x, double* mean, double* variance) {
  const ChannelCut cut(1, rows.positions, rows.c, {x});
  const Moments moments{x, rows.positions * rows.c, cut.c};
  const Tensor partials = channel_sums<2>(cut, moments);
  Tensor results = Tensor::empty({2, rows.c}, Dtype::f64, current_device());
  double* const means = results.data<double>();
  MINIDL_LAUNCH(channel_moments_kernel, blocks_for(rows.c, kEntryThreads), kEntryThreads, 0, current_stream(), cut,
                moments, partials.data<double>(), means, means + rows.c);
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
  const Tensor partials = channel_sums<3>(cut, GradientSums{args.input, args.mean, args.grad_output});
  Tensor sums = Tensor::empty({2, entries}, Dtype::f64, current_device());
  Tensor map = Tensor::empty({3, entries}, Dtype::f32, current_device());
  double *grad_sums = sums.data<double>(), *products = grad_sums + entries;
  float *scale = map.data<float>(), *slope = scale + entries, *offset = slope + entries;
  MINIDL_LAUNCH(norm_gradient_kernel, entry_blocks(shape), kEntryThreads, 0, current_stream(), cut, shape, args,
                partials.data<double>(), grad_sums, scale, slope, offset);
  if (targets.input.grad) {
    channel_map(cut, Gradient{args.input, args.grad_output, args.mean, scale, slope, offset},
                GradientOutput{targets.input});
  }
  const auto write = [&](const double* of, float beta, float* grad) {
    if (!grad) return;
    MINIDL_LAUNCH(norm_parameter_kernel, entry_blocks(shape), kEntryThreads, 0, current_stream(), shape, of, beta,
                  grad);
  };
  write(grad_sums, targets.bias_beta, targets.bias);
  write(products, targets.weight_beta, targets.weight);
}

}  // namespace minidl::cuda
