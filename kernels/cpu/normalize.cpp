#include <minidl/kernels/cpu/channels.h>

#include <cmath>
#include <vector>

namespace minidl::cpu {
namespace {

/// Row of weight or bias that a group uses.
const float* of_group(const NormShape& shape, const float* parameter, int64_t group) {
  return parameter + (shape.weight_per_group ? group * shape.c : 0);
}

/// One value per channel.
template <typename F>
std::vector<float> per_channel(int64_t c, const F& f) {
  std::vector<float> values(static_cast<size_t>(c));
  for (int64_t j = 0; j < c; ++j) values[static_cast<size_t>(j)] = static_cast<float>(f(j));
  return values;
}

/// running = (1 - momentum) * running + momentum * batch.
void update_running(float momentum, double batch, float& running) {
  const double part = static_cast<double>(momentum);
  running = static_cast<float>((1.0 - part) * running + part * batch);
}

/// grad = beta * grad + the sums of all groups, or of each its own. Row `which` of every group's sums [3, c].
void write_parameter_gradient(const NormShape& shape, const std::vector<double>& sums, int64_t which, float beta,
                              float* grad) {
  const int64_t c = shape.c, rows = shape.weight_per_group ? shape.groups : 1;
  std::vector<double> totals(static_cast<size_t>(rows * c));
  for (int64_t group = 0; group < shape.groups; ++group) {
    double* total = totals.data() + (shape.weight_per_group ? group * c : 0);
    for (int64_t j = 0; j < c; ++j) total[j] += sums[static_cast<size_t>((group * 3 + which) * c + j)];
  }
  for (int64_t i = 0; i < rows * c; ++i) {
    const double total = totals[static_cast<size_t>(i)];
    grad[i] = static_cast<float>(beta == 0.0f ? total : static_cast<double>(beta) * grad[i] + total);
  }
}

}  // namespace

void normalize_forward(const NormShape& shape, const NormForward& args, const NormRunning& running, float* mean,
                       float* rstd) {
  const int64_t c = shape.c;
  const float* const input = args.input.data<float>();
  float* const output = args.output.data<float>();
  std::vector<double> means(static_cast<size_t>(shape.groups * c)), variances(means.size());
  for (int64_t group = 0; group < shape.groups; ++group) {
    const ChannelRows rows{shape.positions, c};
    const int64_t at = group * shape.positions * c;
    const double* group_mean = means.data() + group * c;
    const double* variance = variances.data() + group * c;
    channel_moments(rows, input + at, means.data() + group * c, variances.data() + group * c);

    const float *weight = of_group(shape, args.weight.data<float>(), group),
                *bias = of_group(shape, args.bias.data<float>(), group);
    const auto exact_rstd = [&](int64_t j) { return 1.0 / std::sqrt(variance[j] + static_cast<double>(args.eps)); };
    float *saved_mean = mean + group * c, *saved_rstd = rstd + group * c;
    for (int64_t j = 0; j < c; ++j) {
      saved_mean[j] = static_cast<float>(group_mean[j]);
      saved_rstd[j] = static_cast<float>(exact_rstd(j));
    }
    const std::vector<float> scale = per_channel(c, [&](int64_t j) { return weight[j] * exact_rstd(j); });
    // What the mean lost when it was rounded to f32 goes into the shift: it matters when the variance is small beside
    // it.
    const std::vector<float> shift = per_channel(c, [&](int64_t j) {
      return bias[j] - (group_mean[j] - static_cast<double>(saved_mean[j])) * weight[j] * exact_rstd(j);
    });
    channel_affine(rows, input + at, {saved_mean, scale.data(), shift.data()},
                   args.residual ? args.residual + at : nullptr, args.activation == Activation::relu, output + at);
  }
  if (!running.mean) return;
  const double count = static_cast<double>(shape.positions), unbiased = count > 1.0 ? count / (count - 1.0) : 1.0;
  for (int64_t i = 0; i < shape.groups * c; ++i) {
    update_running(running.momentum, mean[i], running.mean[i]);
    update_running(running.momentum, variances[static_cast<size_t>(i)] * unbiased, running.variance[i]);
  }
}

void reciprocal_deviation(int64_t count, const float* variance, float eps, float* rstd) {
  for (int64_t i = 0; i < count; ++i) {
    rstd[i] = static_cast<float>(1.0 / std::sqrt(static_cast<double>(variance[i]) + static_cast<double>(eps)));
  }
}

void normalize_forward_fixed(const NormShape& shape, const NormForward& args, const float* mean, const float* rstd) {
  const float* const weight = args.weight.data<float>();
  const std::vector<float> scale = per_channel(shape.c, [&](int64_t j) { return weight[j] * rstd[j]; });
  channel_affine({shape.positions, shape.c}, args.input.data<float>(), {mean, scale.data(), args.bias.data<float>()},
                 args.residual, args.activation == Activation::relu, args.output.data<float>());
}

// With x^ = (x - mean) * rstd, N positions and sums over them:
//   grad_bias = sum g,  grad_weight = sum g x^,  grad_input = weight * rstd * (g - (sum g) / N - x^ (sum g x^) / N);
// with fixed statistics grad_input = weight * rstd * g. The saved mean is rounded to f32; the mean of x - mean, which
// would be zero, corrects it.
void normalize_backward(const NormShape& shape, const NormBackward& args, const NormTargets& targets) {
  const int64_t c = shape.c;
  const double count = static_cast<double>(shape.positions);
  std::vector<double> sums(static_cast<size_t>(shape.groups * 3 * c));
  for (int64_t group = 0; group < shape.groups; ++group) {
    const ChannelRows rows{shape.positions, c};
    const int64_t at = group * shape.positions * c;
    const float *mean = args.mean + group * c, *rstd = args.rstd + group * c,
                *weight = of_group(shape, args.weight, group);
    double *grad_sum = sums.data() + group * 3 * c, *product = grad_sum + c, *deviation = product + c;
    channel_sums(rows, args.input + at, mean, args.grad_output + at, grad_sum);
    for (int64_t j = 0; j < c; ++j) {
      deviation[j] = args.fixed_statistics ? 0.0 : deviation[j] / count;
      product[j] = (product[j] - deviation[j] * grad_sum[j]) * rstd[j];  // sum g x^
    }
    if (!targets.input.grad) continue;
    const double inverse = args.fixed_statistics ? 0.0 : 1.0 / count;
    const std::vector<float> scale = per_channel(c, [&](int64_t j) { return weight[j] * rstd[j]; });
    const std::vector<float> slope = per_channel(c, [&](int64_t j) { return product[j] * rstd[j] * inverse; });
    const std::vector<float> offset =
        per_channel(c, [&](int64_t j) { return (grad_sum[j] - deviation[j] * product[j] * rstd[j]) * inverse; });
    channel_gradient(rows, args.input + at, args.grad_output + at, {mean, scale.data(), slope.data(), offset.data()},
                     targets.input.from(at));
  }
  if (targets.bias) write_parameter_gradient(shape, sums, 0, targets.bias_beta, targets.bias);
  if (targets.weight) write_parameter_gradient(shape, sums, 1, targets.weight_beta, targets.weight);
}

}  // namespace minidl::cpu
