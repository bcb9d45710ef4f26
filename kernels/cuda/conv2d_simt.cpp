#include <minidl/core/cuda/backend.h>
#include <minidl/core/cuda/recording.h>
#include <minidl/core/cuda/stream.h>
#include <minidl/kernels/cuda/continued.h>
#include <minidl/kernels/cuda/conv2d_engines.h>
#include <minidl/kernels/cuda/gather_product.h>
#include <minidl/kernels/cuda/outer_product.h>
#include <minidl/kernels/cuda/pack_weight.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/filter_cache.h>

#include <algorithm>
#include <limits>
#include <vector>

namespace minidl::cuda {
namespace {

constexpr int64_t kFloat = sizeof(float);

const char* decline(const Conv2dProblem& problem, Precision precision) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  const Conv2dDesc& d = problem.desc;
  const Padding& padding = d.window.padding;
  const int64_t padded = (d.in_h + padding.top + padding.bottom) * (d.in_w + padding.left + padding.right);
  if (precision == Precision::fp16) return "computes in fp32 only";
  const bool fits = d.n <= kMost / padded && d.n <= kMost / (d.out_h() * d.out_w()) &&
                    std::max(d.weight_shape().count() / d.in_c, d.k_h * d.k_w * d.in_c) <= kMost;
  return fits ? nullptr : "indices of pixels and taps are 32-bit numbers";
}

Windows windows_of(const Conv2dDesc& d) {
  const Padding& padding = d.window.padding;
  return {.n = static_cast<int>(d.n),
          .in_h = static_cast<int>(d.in_h),
          .in_w = static_cast<int>(d.in_w),
          .in_c = static_cast<int>(d.in_c),
          .mode = padding.mode,
          .k_h = static_cast<int>(d.k_h),
          .k_w = static_cast<int>(d.k_w),
          .windows_h = static_cast<int>(d.out_h()),
          .windows_w = static_cast<int>(d.out_w()),
          .stride_h = static_cast<int>(d.window.stride_h),
          .stride_w = static_cast<int>(d.window.stride_w),
          .begin_h = static_cast<int>(-padding.top),
          .begin_w = static_cast<int>(-padding.left)};
}

void forward(const Conv2dDesc& d, const Conv2dForwardArgs& args) {
  const GatherOutput output{.output = args.output,
                            .channels = static_cast<int>(d.out_c),
                            .out_h = static_cast<int>(d.out_h()),
                            .out_w = static_cast<int>(d.out_w()),
                            .bias = args.bias,
                            .relu = args.activation == Activation::relu,
                            .positive = args.relu_mask};
  gather_product(windows_of(d), args.input, args.weight.data<float>(), output, current_stream());
}

/// Along one axis: the pixels i of the input for which i + pad = phase modulo the stride, and the taps that reach them.
/// Pixel stride * q + phase - pad, q = begin ... begin + pixels - 1, is read by tap phase + stride * t of window q - t.
struct Phase {
  int phase, taps, begin, pixels;
};
std::vector<Phase> phases_of(int64_t extent, int64_t kernel, int64_t stride, int64_t pad) {
  std::vector<Phase> phases;
  for (int64_t phase = 0; phase < stride; ++phase) {
    const int64_t taps = phase < kernel ? (kernel - phase + stride - 1) / stride : 0;
    const int64_t begin = std::max<int64_t>(0, (pad - phase + stride - 1) / stride);
    const int64_t end = extent + pad > phase ? (extent + pad - phase - 1) / stride + 1 : 0;
    if (end <= begin) continue;
    phases.push_back(
        {static_cast<int>(phase), static_cast<int>(taps), static_cast<int>(begin), static_cast<int>(end - begin)});
  }
  return phases;
}

Taps taps_of(const Conv2dDesc& d, const Phase& h, const Phase& w) {
  return {.out_c = static_cast<int>(d.out_c),
          .k_h = static_cast<int>(d.k_h),
          .k_w = static_cast<int>(d.k_w),
          .in_c = static_cast<int>(d.in_c),
          .first_h = h.phase,
          .step_h = static_cast<int>(d.window.stride_h),
          .count_h = h.taps,
          .first_w = w.phase,
          .step_w = static_cast<int>(d.window.stride_w),
          .count_w = w.taps};
}

/// Calls body(h, w, offset) for each pair of phases, whose filters begin at `offset` of the packed weight.
template <typename Body>
void for_phases(const Conv2dDesc& d, const Body& body) {
  const Padding& padding = d.window.padding;
  int64_t offset = 0;
  for (const Phase& h : phases_of(d.in_h, d.k_h, d.window.stride_h, padding.top)) {
    for (const Phase& w : phases_of(d.in_w, d.k_w, d.window.stride_w, padding.left)) {
      body(h, w, offset);
      offset += d.in_c * h.taps * w.taps * d.out_c;
    }
  }
}

/// The weight as backward_data multiplies by it: the filters of all phases, one after the other.
Tensor packed_weight(const Conv2dDesc& d, const Tensor& weight) {
  const auto pack = [&] {
    Tensor packed = Tensor::empty({weight.count()}, Dtype::f32, weight.device());
    for_phases(d, [&](const Phase& h, const Phase& w, int64_t offset) {
      pack_reversed(taps_of(d, h, w), weight.data<float>(), packed.data<float>() + offset, current_stream());
    });
    return packed;
  };
  // A recording packs each time: in it nothing is computed yet that could be kept, and weights change between its runs.
  if (Recording::current()) return pack();
  // What is packed depends on the stride and on which phases there are, that is on where the picture begins and ends;
  // with a stride of 1 there is one form.
  static const char kForm = 0;
  return d.window.stride_h == 1 && d.window.stride_w == 1 ? kept_filters(weight, &kForm, pack) : pack();
}

/// With a padding of zeros, which the input does not have to be continued for: each phase is a convolution of
/// grad_output with its own filters.
void backward_zero_padded(const Conv2dDesc& d, const Tensor& weight, const float* grad_output,
                          const GradTarget& target) {
  const Tensor packed = packed_weight(d, weight);
  const Padding& padding = d.window.padding;
  for_phases(d, [&](const Phase& h, const Phase& w, int64_t offset) {
    const bool any = h.taps > 0 && w.taps > 0;
    const Windows windows{.n = static_cast<int>(d.n),
                          .in_h = static_cast<int>(d.out_h()),
                          .in_w = static_cast<int>(d.out_w()),
                          .in_c = static_cast<int>(d.out_c),
                          .k_h = any ? h.taps : 0,
                          .k_w = any ? w.taps : 1,
                          .windows_h = h.pixels,
                          .windows_w = w.pixels,
                          .begin_h = h.begin - (h.taps - 1),
                          .begin_w = w.begin - (w.taps - 1)};
    const GatherOutput output{.output = target.grad,
                              .channels = static_cast<int>(d.in_c),
                              .out_h = static_cast<int>(d.in_h),
                              .out_w = static_cast<int>(d.in_w),
                              .out_stride_h = static_cast<int>(d.window.stride_h),
                              .out_stride_w = static_cast<int>(d.window.stride_w),
                              .out_begin_h = static_cast<int>(h.begin * d.window.stride_h + h.phase - padding.top),
                              .out_begin_w = static_cast<int>(w.begin * d.window.stride_w + w.phase - padding.left),
                              .beta = target.beta,
                              .mask = target.relu_mask};
    gather_product(windows, grad_output, packed.data<float>() + offset, output, current_stream());
  });
}

void backward_data(const Conv2dDesc& d, const Conv2dBackwardDataArgs& args) {
  const GradTarget target{args.grad_input, args.beta, args.relu_mask};
  if (!is_continued(d.window.padding)) return backward_zero_padded(d, args.weight, args.grad_output, target);
  const Conv2dDesc whole = continued(d);
  Tensor grad = Tensor::empty(whole.input_shape(), Dtype::f32, args.weight.device());
  backward_zero_padded(whole, args.weight, args.grad_output, {grad.data<float>(), 0.0f});
  pad_backward(d.input_shape(), d.window.padding, grad.data<float>(), target);
}

void backward_weight(const Conv2dDesc& d, const Conv2dBackwardWeightArgs& args) {
  const OuterProduct product{.windows = windows_of(d), .rows = static_cast<int>(d.out_c), .beta = args.beta};
  outer_product(product, args.grad_output, args.input, args.grad_weight, current_stream());
}

int64_t workspace_bytes(const Conv2dProblem& problem) {
  const Conv2dDesc& d = problem.desc;
  switch (problem.direction) {
    case Conv2dDirection::forward:
      return 0;
    case Conv2dDirection::backward_data: {
      const int64_t picture = is_continued(d.window.padding) ? continued(d).input_shape().count() : 0;
      return kFloat * (d.weight_shape().count() + picture);
    }
    default:
      return outer_product_workspace({.windows = windows_of(d), .rows = static_cast<int>(d.out_c)});
  }
}

int64_t kept_bytes(const Conv2dProblem& problem) {
  const Window& window = problem.desc.window;
  const bool packs =
      problem.direction == Conv2dDirection::backward_data && window.stride_h == 1 && window.stride_w == 1;
  return packs ? kFloat * problem.desc.weight_shape().count() : 0;
}

bool writes_relu_mask(const Conv2dDesc& desc) {
  return desc.out_c % 8 == 0;
}

}  // namespace

const Conv2dEngine conv2d_simt{.name = "simt",
                               .device = Device::Kind::cuda,
                               .error = 3e-6,
                               .exact_integers = true,
                               .decline = decline,
                               .workspace_bytes = workspace_bytes,
                               .kept_bytes = kept_bytes,
                               .spared_bytes = nullptr,
                               .writes_relu_mask = writes_relu_mask,
                               .pools = nullptr,
                               .forward = forward,
                               .backward_data = backward_data,
                               .backward_weight = backward_weight};

}  // namespace minidl::cuda
