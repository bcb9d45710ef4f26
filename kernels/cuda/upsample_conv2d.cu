#include <minidl/core/cuda/backend.h>
#include <minidl/core/tensor.h>
#include <minidl/kernels/cuda/gather_mma.h>
#include <minidl/kernels/cuda/pack_weight.h>
#include <minidl/kernels/cuda/result_moments.h>
#include <minidl/kernels/cuda/rounded_results.h>
#include <minidl/kernels/cuda/weight_form.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/cuda/map.cuh>

#include <algorithm>
#include <cstddef>

// Upsampling by 2 and a 3x3 convolution as convolutions of the small picture. With the taps w0, w1, w2 of one axis the
// outputs of pixel i are
//   y[2 i]     = w0 x[i-1] + (w1 + w2) x[i]
//   y[2 i + 1] = (w0 + w1) x[i] + w2 x[i+1],
// so each of the four phases of the output is a 2x2 convolution whose taps are sums of those of the weight, and the
// gradient of pixel q is
//   w2 g[2 q - 1] + (w1 + w2) g[2 q] + (w0 + w1) g[2 q + 1] + w0 g[2 q + 2]:
// a 4x4 convolution of the gradient with stride 2, and the gradient of its taps is a sum of pixels times its windows.
// 16 products for each pixel and pair of channels instead of 36, in the arithmetic of the current precision. The
// kernels here make the taps and, backward, add up those of a weight; one element a thread.
namespace minidl::cuda {
namespace {

/// Bit r is set where tap r of the weight takes part in tap i of phase a.
MINIDL_DEVICE unsigned taps_of_phase(int a, int i) {
  return a == 0 ? (i == 0 ? 0b001u : 0b110u) : (i == 0 ? 0b011u : 0b100u);
}
/// The same for tap t of the gradient's 4x4 convolution, which reads g[2 q + t - 1].
MINIDL_DEVICE unsigned taps_of_gradient(int t) {
  return t == 0 ? 0b100u : t == 1 ? 0b110u : t == 2 ? 0b011u : 0b001u;
}

struct WeightSize {
  int64_t out_c, in_c;
};

/// Of weight [out_c, 3, 3, in_c], the taps (r, s) in `rows` and `columns`.
MINIDL_DEVICE float sum_of_taps(const WeightSize& size, const float* weight, int64_t k, int64_t c, unsigned rows,
                                unsigned columns) {
  float sum = 0.0f;
  for (int r = 0; r < 3; ++r) {
    for (int s = 0; s < 3; ++s) {
      if (rows >> r & columns >> s & 1) sum += load(weight + (k * 9 + r * 3 + s) * size.in_c + c);
    }
  }
  return sum;
}

/// phases [a, b, out_c, i, j, in_c].
MINIDL_KERNEL(kMapThreads, phase_weight_kernel, WeightSize size, const float* weight, float* phases) {
  const int64_t at = int64_t{blockIdx.x} * kMapThreads + threadIdx.x;
  if (at >= 16 * size.out_c * size.in_c) return;
  const int64_t c = at % size.in_c, k = at / (4 * size.in_c) % size.out_c;
  const int tap = static_cast<int>(at / size.in_c % 4), phase = static_cast<int>(at / (4 * size.in_c * size.out_c));
  store(phases + at,
        sum_of_taps(size, weight, k, c, taps_of_phase(phase / 2, tap / 2), taps_of_phase(phase % 2, tap % 2)));
}

/// taps [out_c, 4, 4, in_c], the last one first: what pack_reversed makes a weight of.
MINIDL_KERNEL(kMapThreads, gradient_weight_kernel, WeightSize size, const float* weight, float* taps) {
  const int64_t at = int64_t{blockIdx.x} * kMapThreads + threadIdx.x;
  if (at >= 16 * size.out_c * size.in_c) return;
  const int64_t c = at % size.in_c, k = at / (16 * size.in_c);
  const int tap = 15 - static_cast<int>(at / size.in_c % 16);
  store(taps + at, sum_of_taps(size, weight, k, c, taps_of_gradient(tap / 4), taps_of_gradient(tap % 4)));
}

/// grad_weight [out_c, 3, 3, in_c] = beta * grad_weight + the gradients of the taps of the 4x4 convolution that (r, s)
/// takes part in, taps [out_c, 4, 4, in_c], the last one first.
MINIDL_KERNEL(kMapThreads, weight_gradient_kernel, WeightSize size, const float* taps, float beta, float* grad_weight) {
  const int64_t at = int64_t{blockIdx.x} * kMapThreads + threadIdx.x;
  if (at >= 9 * size.out_c * size.in_c) return;
  const int64_t c = at % size.in_c, k = at / (9 * size.in_c);
  const int tap = static_cast<int>(at / size.in_c % 9);
  float sum = 0.0f;
  for (int t = 0; t < 4; ++t) {
    for (int u = 0; u < 4; ++u) {
      if (taps_of_gradient(t) >> tap / 3 & taps_of_gradient(u) >> tap % 3 & 1) {
        sum += load(taps + (k * 16 + 15 - (t * 4 + u)) * size.in_c + c);
      }
    }
  }
  store(grad_weight + at, beta == 0.0f ? sum : beta * load(grad_weight + at) + sum);
}

void check_range(const UpsampleConv2dDesc& d) {
  MINIDL_CHECK(d.n * (d.in_h + 2) * (d.in_w + 2) <= INT32_MAX / 4,
               "[upsample_conv2d] input {} is too large for a CUDA device", d.input_shape());
}

/// Continuing the upsampled picture by one pixel repeats the border pixel of the small one.
Padding::Mode mode_of(const UpsampleConv2dDesc& d) {
  return d.padding == Padding::Mode::zero ? Padding::Mode::zero : Padding::Mode::replicate;
}

/// Pixels by which the small picture is continued where the gradient of what repeats the border is asked for.
int border_of(const UpsampleConv2dDesc& d) {
  return mode_of(d) == Padding::Mode::replicate ? 1 : 0;
}

/// In the current precision, where its indices suffice for the input and the gradient of the output.
const WindowProducts& products_of(const UpsampleConv2dDesc& d) {
  constexpr int64_t kMostRow = (int64_t{1} << 30) / kMostMmaTaps;
  const WindowProducts& products = products_now();
  const int64_t pixels = d.n * d.in_h * d.in_w;
  const bool suffice = 2 * d.in_w + 2 <= kMostRow / (std::max(d.in_c, d.out_c) + 8) &&
                       products.gathers(pixels, d.in_c) && products.gathers(4 * pixels, d.out_c);
  return suffice ? products : products_simt;
}

/// What the 2x2 windows of phase (a, b) read.
Windows windows_of(const WindowProducts& products, const UpsampleConv2dDesc& d, int a, int b) {
  return {.n = static_cast<int>(d.n),
          .in_h = static_cast<int>(d.in_h),
          .in_w = static_cast<int>(d.in_w),
          .in_c = static_cast<int>(products.channels(d.in_c)),
          .mode = mode_of(d),
          .k_h = 2,
          .k_w = 2,
          .windows_h = static_cast<int>(d.in_h),
          .windows_w = static_cast<int>(d.in_w),
          .begin_h = a - 1,
          .begin_w = b - 1};
}

/// What a pixel of the small picture, continued by `border`, has of the gradient of the output.
Windows windows_of_gradient(const WindowProducts& products, const UpsampleConv2dDesc& d, int border) {
  return {.n = static_cast<int>(d.n),
          .in_h = static_cast<int>(2 * d.in_h),
          .in_w = static_cast<int>(2 * d.in_w),
          .in_c = static_cast<int>(products.channels(d.out_c)),
          .k_h = 4,
          .k_w = 4,
          .windows_h = static_cast<int>(d.in_h) + 2 * border,
          .windows_w = static_cast<int>(d.in_w) + 2 * border,
          .stride_h = 2,
          .stride_w = 2,
          .begin_h = -2 * border - 1,
          .begin_w = -2 * border - 1};
}

/// The 16 taps of a filter bank [k, 4, 4, c] in reverse, as [c, 4, 4, k].
Tensor reversed(const Tensor& taps, int64_t k, int64_t c) {
  Tensor packed = Tensor::empty({c, 4, 4, k}, Dtype::f32, taps.device());
  const Taps all{
      .out_c = static_cast<int>(k), .k_h = 4, .k_w = 4, .in_c = static_cast<int>(c), .count_h = 4, .count_w = 4};
  pack_reversed(all, taps.data<float>(), packed.data<float>(), current_stream());
  return packed;
}

}  // namespace

void upsample_conv2d_forward(const UpsampleConv2dDesc& d, const Tensor& input, const Tensor& weight, const float* bias,
                             Tensor& output) {
  check_range(d);
  const WindowProducts& products = products_of(d);
  const int64_t filters = d.out_c * 4;  // of a phase
  const Tensor rows = weight_form(true, weight, &products.dtype, [&] {
    Tensor phases = Tensor::empty({4 * filters, d.in_c}, Dtype::f32, weight.device());
    MINIDL_LAUNCH(phase_weight_kernel, blocks_for(phases.count(), kMapThreads), kMapThreads, 0, current_stream(),
                  WeightSize{d.out_c, d.in_c}, weight.data<float>(), phases.data<float>());
    const Tensor operand = products.operand(phases.data<float>(), 4 * filters, d.in_c);
    return operand ? operand : phases;
  });
  const Operand picture = operand_of(products, input, d.n * d.in_h * d.in_w, d.in_c);
  float* const results = output.data<float>();
  ResultMoments moments(products, windows_of(products, d, 0, 0), 4, &output);
  const int64_t phase_bytes = filters * products.channels(d.in_c) * static_cast<int64_t>(size_of(products.dtype));
  for (int phase = 0; phase < 4; ++phase) {
    GatherOutput result{.output = results,
                        .channels = static_cast<int>(d.out_c),
                        .out_h = static_cast<int>(2 * d.in_h),
                        .out_w = static_cast<int>(2 * d.in_w),
                        .out_stride_h = 2,
                        .out_stride_w = 2,
                        .out_begin_h = phase / 2,
                        .out_begin_w = phase % 2,
                        .bias = bias};
    moments.add_to(result, phase);
    products.gather(windows_of(products, d, phase / 2, phase % 2), picture.data,
                    static_cast<const std::byte*>(rows.raw()) + phase * phase_bytes, result, current_stream());
  }
  moments.keep();
}

void upsample_conv2d_backward_data(const UpsampleConv2dDesc& d, const Tensor& weight, const Tensor& grad_output,
                                   const GradTarget& target) {
  check_range(d);
  const WindowProducts& products = products_of(d);
  Tensor sums = Tensor::empty({d.out_c, 4, 4, d.in_c}, Dtype::f32, weight.device());
  MINIDL_LAUNCH(gradient_weight_kernel, blocks_for(sums.count(), kMapThreads), kMapThreads, 0, current_stream(),
                WeightSize{d.out_c, d.in_c}, weight.data<float>(), sums.data<float>());
  const Tensor taps = reversed(sums, d.out_c, d.in_c);
  const Operand filters(products, taps.data<float>(), d.in_c * 16, d.out_c),
      picture = operand_of(products, grad_output, 4 * d.n * d.in_h * d.in_w, d.out_c);
  // Of a picture continued by one repeated pixel, the gradient of the continued one is taken first.
  const int border = border_of(d);
  const Windows windows = windows_of_gradient(products, d, border);
  Tensor continued;
  if (border)
    continued = Tensor::empty({d.n, windows.windows_h, windows.windows_w, d.in_c}, Dtype::f32, weight.device());
  const GatherOutput result{.output = border ? continued.data<float>() : target.grad,
                            .channels = static_cast<int>(d.in_c),
                            .out_h = windows.windows_h,
                            .out_w = windows.windows_w,
                            .beta = border ? 0.0f : target.beta,
                            .mask = border ? BitSpan() : target.relu_mask};
  products.gather(windows, picture.data, filters.data, result, current_stream());
  if (border) pad_backward(d.input_shape(), Padding::replicate(1), continued.data<float>(), target);
}

/// The gradient of the taps of the 4x4 convolution first, whose operands are those of backward_data.
void upsample_conv2d_backward_weight(const UpsampleConv2dDesc& d, const Tensor& input, const Tensor& grad_output,
                                     float beta, float* grad_weight) {
  check_range(d);
  const WindowProducts& products = products_of(d);
  const int border = border_of(d);
  const OuterProduct product{.windows = windows_of_gradient(products, d, border), .rows = static_cast<int>(d.in_c)};
  Tensor continued;
  if (border) {
    continued = Tensor::empty({product.windows.count(), d.in_c}, Dtype::f32, current_device());
    pad_forward(d.input_shape(), Padding::replicate(1), input.data<float>(), continued.data<float>());
  }
  const Operand rows = operand_of(products, border ? continued : input, product.windows.count(), d.in_c),
                picture = operand_of(products, grad_output, 4 * d.n * d.in_h * d.in_w, d.out_c);
  Tensor taps = Tensor::empty({d.in_c, 4, 4, d.out_c}, Dtype::f32, current_device());
  products.outer(product, rows.data, picture.data, static_cast<int>(d.out_c), taps.data<float>(), current_stream());
  const Tensor turned = reversed(taps, d.in_c, d.out_c);
  MINIDL_LAUNCH(weight_gradient_kernel, blocks_for(9 * d.out_c * d.in_c, kMapThreads), kMapThreads, 0, current_stream(),
                WeightSize{d.out_c, d.in_c}, turned.data<float>(), beta, grad_weight);
}

}  // namespace minidl::cuda
