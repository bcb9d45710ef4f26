// Normalisation of feature maps: as it is, and behind a convolution that left moments of its results.
#include <emulator/case_tensors.h>
#include <minidl/kernels/batch_norm.h>
#include <minidl/kernels/conv2d.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/precision_scope.h>
#include <minidl/kernels/reduce.h>

#include <memory>

namespace minidl::emulator {
namespace {

/// The launches of a norm with `groups` x `c` statistics of x; of blocks, those of the sums.
struct NormLaunches {
  int64_t bytes;    // of x
  int64_t entries;  // groups * c
  int64_t c;

  /// A block of sums writes `sums` of them for c channels, and the last one reads them.
  int64_t partials(int64_t blocks, int64_t sums) const { return 2 * kDouble * blocks * sums * c; }
  static ExpectedLaunch::Limits summed() { return {.bytes = 1.35}; }
  /// A thread reads the numbers of its channels once for up to twelve positions.
  static ExpectedLaunch::Limits mapped() { return {.bytes = 1.65}; }
};

KernelCase instance_norm(const Shape& shape) {
  const auto x = shared(shape), y = shared(shape);
  const int64_t n = shape[0], c = shape[3];
  const auto weight = shared({c}), bias = shared({c}), grad_weight = shared({c}),
             grad_bias = shared({c});
  const auto mean = shared({n, c}), rstd = shared({n, c});
  const NormLaunches norm{x->bytes(), n * c, c};
  return {
      x->shape().str() + ": instance norm, its gradients",
      [=] {
        instance_norm_forward(*x, *weight, *bias, 1e-5f, Activation::relu, *y, *mean, *rstd);
        instance_norm_backward(*x, *weight, *mean, *rstd, *x, {y.get(), {}, grad_weight.get(), 0.0f, grad_bias.get()});
      },
      [=](const std::vector<int64_t>& blocks) -> std::vector<ExpectedLaunch> {
        const int64_t entries = kFloat * norm.entries;
        return {
            {"channel_sums_kernel", norm.bytes + 8 * entries + norm.partials(blocks.at(0), 2), 0, norm.summed()},
            {"channel_map_kernel", 2 * norm.bytes + 3 * entries, 0, norm.mapped()},
            {"channel_sums_kernel", 2 * norm.bytes + 10 * entries + norm.partials(blocks.at(2), 3), 0, norm.summed()},
            {"channel_map_kernel", 3 * norm.bytes + 4 * entries, 0, norm.mapped()},
            {"norm_parameter_kernel", 6 * entries}};
      }};
}

/// Of a batch's evaluation, and the moments of an input's channels.
KernelCase fixed_norm(const Shape& shape) {
  const auto x = shared(shape), y = shared(shape);
  const int64_t c = shape[3];
  const Tensor weight = device_tensor({c}), bias = device_tensor({c}), mean = device_tensor({c});
  const auto variance = shared({c});
  variance->fill(2.0f);
  const NormLaunches norm{x->bytes(), c, c};
  return {x->shape().str() + ": batch norm with known statistics, moments of the channels",
          [=] {
            batch_norm_forward_evaluation(*x, weight, bias, mean, *variance, 1e-5f, Activation::relu, *y);
            std::vector<double> means(static_cast<size_t>(c)), variances(static_cast<size_t>(c));
            channel_moments(*x, means, variances);
          },
          [=](const std::vector<int64_t>& blocks) -> std::vector<ExpectedLaunch> {
            const int64_t entries = kFloat * norm.entries;
            return {
                {"reciprocal_deviation_kernel", 2 * entries},
                {"norm_fixed_kernel", 5 * entries},
                {"channel_map_kernel", 2 * norm.bytes + 3 * entries, 0, norm.mapped()},
                {"channel_sums_kernel", norm.bytes + 6 * entries + norm.partials(blocks.at(3), 2), 0, norm.summed()}};
          }};
}

/// Of what a convolution in bf16 wrote, which left moments; added to a residual, and written in bf16, too, or in
/// nothing else.
KernelCase norm_behind_convolution(const Shape& shape, bool whole) {
  const execution::PrecisionScope scope(Precision::bf16);
  const int64_t c = shape[3], left = moment_bytes(shape[1] * shape[2], c, 8, 2);
  const Conv2dDesc desc = Conv2dDesc::make({1, shape[1], shape[2], 8}, {c, 1, 1, 8}, {});
  const auto x = shared(shape), mean = shared({1, c}), rstd = shared({1, c});
  const auto y = std::make_shared<Tensor>(Tensor::empty(shape, whole ? Dtype::f32 : Dtype::bf16, cuda_device()));
  const Tensor weight = device_tensor({c}), bias = device_tensor({c}), residual = device_tensor(shape);
  conv2d_forward(desc, device_tensor(desc.input_shape()), device_tensor(desc.weight_shape()), bias, Activation::none,
                 *x);
  const NormLaunches norm{x->bytes(), c, c};
  return {x->shape().str() + ": norm behind a convolution in bf16, added, " + (whole ? "f32 and bf16" : "bf16 alone"),
          [=] {
            const execution::PrecisionScope at(Precision::bf16);
            instance_norm_forward(*x, weight, bias, 1e-5f, Activation::none, *y, *mean, *rstd, residual);
          },
          [=](const std::vector<int64_t>& blocks) -> std::vector<ExpectedLaunch> {
            const int64_t entries = kFloat * c, moments = 4 * kFloat * c;  // of a tile
            return {{"channel_sums_kernel", left + 2 * moments + 6 * entries + norm.partials(blocks.at(0), 2), 0,
                     norm.summed()},
                    {"channel_map_kernel", (whole ? 7 : 5) * norm.bytes / 2 + 3 * entries, 0, norm.mapped()}};
          }};
}

}  // namespace

std::vector<std::function<KernelCase()>> norm_cases(bool small) {
  const int64_t extent = small ? 16 : 64;
  const Shape wide{1, extent, extent, 32}, pictures{2, extent / 4, extent / 4, 128}, behind{1, extent, extent, 64};
  return {[=] { return instance_norm(wide); }, [=] { return instance_norm(pictures); },
          [=] {
            return fixed_norm({2, extent / 2, extent / 2, 64});
          },
          [=] { return norm_behind_convolution(behind, true); },
          [=] { return norm_behind_convolution(behind, false); }};
}

}  // namespace minidl::emulator
