#include <minidl/core/cuda/backend.h>
#include <minidl/core/cuda/stream.h>
#include <minidl/kernels/cuda/continued.h>
#include <minidl/kernels/cuda/conv2d_passes.h>
#include <minidl/kernels/cuda/input_operand.h>
#include <minidl/kernels/cuda/pack_weight.h>
#include <minidl/kernels/cuda/pixel_pairs.h>
#include <minidl/kernels/cuda/result_moments.h>
#include <minidl/kernels/cuda/rounded_results.h>
#include <minidl/kernels/cuda/unpooled_operand.h>
#include <minidl/kernels/cuda/weight_form.h>
#include <minidl/kernels/dispatch.h>

#include <algorithm>
#include <limits>
#include <vector>

namespace minidl::cuda {
namespace {

constexpr int64_t kFloat = sizeof(float);

Windows cells_of(const WindowProducts& products, const Conv2dDesc& d) {
  Windows windows = windows_of(products, d);
  windows.in_cells = true;
  return windows;
}

int64_t operand_bytes(const WindowProducts& products, int64_t rows, int64_t channels) {
  return products.reads_values ? 0 : cuda::operand_bytes(products.dtype, rows, channels);
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

/// Calls body(h, w, row) for each pair of phases, whose filters begin at row `row` of the packed weight, of out_c
/// numbers each.
template <typename Body>
void for_phases(const Conv2dDesc& d, const Body& body) {
  const Padding& padding = d.window.padding;
  int64_t row = 0;
  for (const Phase& h : phases_of(d.in_h, d.k_h, d.window.stride_h, padding.top)) {
    for (const Phase& w : phases_of(d.in_w, d.k_w, d.window.stride_w, padding.left)) {
      body(h, w, row);
      row += d.in_c * h.taps * w.taps;
    }
  }
}

/// What each phase multiplies grad_output by.
Windows windows_of_phase(const WindowProducts& products, const Conv2dDesc& d, const Phase& h, const Phase& w) {
  const bool any = h.taps > 0 && w.taps > 0;
  return {.n = static_cast<int>(d.n),
          .in_h = static_cast<int>(d.out_h()),
          .in_w = static_cast<int>(d.out_w()),
          .in_c = static_cast<int>(products.channels(d.out_c)),
          .k_h = any ? h.taps : 0,
          .k_w = any ? w.taps : 1,
          .windows_h = h.pixels,
          .windows_w = w.pixels,
          .begin_h = h.begin - (h.taps - 1),
          .begin_w = w.begin - (w.taps - 1)};
}

bool is_dense(const Conv2dDesc& d) {
  return d.window.stride_h == 1 && d.window.stride_w == 1;
}

/// Filters [channels, k_h, k_w, in_c] as an operand; undefined where they can be read as they are.
Tensor filters_of(const WindowProducts& products, bool paired, const float* filters, int64_t channels, int64_t k_h,
                  int64_t k_w, int64_t in_c) {
  if (!paired) return products.operand(filters, channels * k_h * k_w, in_c);
  const Tensor pairs = paired_filters(filters, channels, k_h, k_w, in_c);
  const Tensor operand = products.operand(pairs.data<float>(), pairs.count() / std::max<int64_t>(1, in_c), in_c);
  return operand ? operand : pairs;
}
/// Of filters in pairs, in fp32, from which the operand is made.
int64_t pair_bytes(bool paired, int64_t channels, int64_t k_h, int64_t k_w, int64_t in_c) {
  return paired ? kFloat * 2 * channels * k_h * (k_w + 1) * in_c : 0;
}
/// Bytes of filters_of(), where something is made.
int64_t filter_bytes(const WindowProducts& products, bool paired, int64_t channels, int64_t k_h, int64_t k_w,
                     int64_t in_c) {
  const int64_t rows = paired ? 2 * channels * k_h * (k_w + 1) : channels * k_h * k_w;
  const int64_t bytes = operand_bytes(products, rows, in_c);
  return bytes == 0 ? pair_bytes(paired, channels, k_h, k_w, in_c) : bytes;
}

/// The weight as backward_data multiplies by it: the filters of all phases, one after the other.
Tensor packed_weight(const WindowProducts& products, const Conv2dDesc& d, const Tensor& weight, bool paired) {
  const auto pack = [&] {
    Tensor packed = Tensor::empty({weight.count()}, Dtype::f32, weight.device());
    int64_t rows = 0;
    for_phases(d, [&](const Phase& h, const Phase& w, int64_t row) {
      rows = row + d.in_c * h.taps * w.taps;
      pack_reversed(taps_of(d, h, w), weight.data<float>(), packed.data<float>() + row * d.out_c, current_stream());
    });
    const Tensor operand = paired ? filters_of(products, true, packed.data<float>(), d.in_c, d.k_h, d.k_w, d.out_c)
                                  : products.operand(packed.data<float>(), rows, d.out_c);
    return operand ? operand : packed;
  };
  // What is packed depends on the stride and on which phases there are, that is on where the picture begins and ends;
  // with a stride of 1 there is one form, and one of pairs.
  const void* const form = paired ? static_cast<const void*>(&products.pools) : &products.gather;
  return weight_form(is_dense(d), weight, form, pack);
}

/// With a padding of zeros, which the input does not have to be continued for: each phase is a convolution of
/// grad_output, an operand, with its own filters.
void gather_phases(const WindowProducts& products, const Conv2dDesc& d, const Tensor& packed, bool paired,
                   const void* grad_output, const GradTarget& target, const AddedRows& added = {},
                   uint16_t* rounded = nullptr, const Unpooled& unpooled = {}) {
  const Padding& padding = d.window.padding;
  const int64_t row_bytes = products.channels(d.out_c) * static_cast<int64_t>(size_of(products.dtype));
  for_phases(d, [&](const Phase& h, const Phase& w, int64_t row) {
    const GatherOutput output{.output = target.grad,
                              .channels = static_cast<int>(d.in_c),
                              .out_h = static_cast<int>(d.in_h),
                              .out_w = static_cast<int>(d.in_w),
                              .out_stride_h = static_cast<int>(d.window.stride_h),
                              .out_stride_w = static_cast<int>(d.window.stride_w),
                              .out_begin_h = static_cast<int>(h.begin * d.window.stride_h + h.phase - padding.top),
                              .out_begin_w = static_cast<int>(w.begin * d.window.stride_w + w.phase - padding.left),
                              .beta = target.beta,
                              .mask = target.relu_mask,
                              .added = added,
                              .rounded = rounded,
                              .unpooled = unpooled};
    const Windows windows = windows_of_phase(products, d, h, w);
    products.gather(paired ? windows_of_pairs(windows) : windows, grad_output,
                    static_cast<const std::byte*>(packed.raw()) + row * row_bytes,
                    paired ? output_of_pairs(output) : output, current_stream());
  });
}

/// Whether a pass takes results in pairs; that of backward_data, when no style term is added.
bool pairs_forward(const WindowProducts& products, const Conv2dDesc& d) {
  return takes_pairs(products, windows_of(products, d), static_cast<int>(d.out_c));
}
bool pairs_backward(const WindowProducts& products, const Conv2dDesc& d) {
  if (!is_dense(d) || d.out_h() == 0 || d.out_w() == 0) return false;
  bool pairs = true;
  for_phases(d, [&](const Phase& h, const Phase& w, int64_t) {
    pairs = takes_pairs(products, windows_of_phase(products, d, h, w), static_cast<int>(d.in_c));
  });
  return pairs;
}

int64_t gather_workspace(const WindowProducts& products, bool paired, const Windows& windows, int64_t channels) {
  return paired ? products.gather_workspace(windows_of_pairs(windows), static_cast<int>(2 * channels))
                : products.gather_workspace(windows, static_cast<int>(channels));
}

/// The gradient before a pool and its ReLU, which the convolution above may have left.
Operand unpooled_gradient(const WindowProducts& products, const Conv2dDesc& d, const Conv2dBackwardDataArgs& args) {
  Tensor left = unpooled_left(products, args.grad_output_tensor, d.output_shape());
  return Operand(left ? std::move(left)
                      : unpooled_operand(products.dtype, d, args.choice, args.positive, args.grad_output));
}

int64_t forward_workspace(const WindowProducts& products, const Conv2dDesc& d) {
  const bool paired = pairs_forward(products, d);
  const auto [taps, channels] = filter_row(products, d);
  const int64_t making = pair_bytes(paired, d.out_c, d.k_h, taps, channels);
  const int64_t used = input_operand_bytes(products, d) +
                       gather_workspace(products, paired, windows_of(products, d), d.out_c) +
                       std::max(rounded_bytes(products, d.n * d.out_h() * d.out_w(), d.out_c),
                                moment_bytes(products, d.n * d.out_h() * d.out_w(), d.out_c));
  return filter_bytes(products, paired, d.out_c, d.k_h, taps, channels) + std::max(making, used);
}

int64_t backward_data_workspace(const WindowProducts& products, const Conv2dDesc& of) {
  const bool continues = is_continued(of.window.padding);
  const Conv2dDesc d = continues ? continued(of) : of;
  const bool paired = pairs_backward(products, d);
  int64_t of_phase = 0;
  for_phases(d, [&](const Phase& h, const Phase& w, int64_t) {
    of_phase = std::max(of_phase, gather_workspace(products, paired, windows_of_phase(products, d, h, w), d.in_c));
  });
  const int64_t filters = filter_bytes(products, paired, d.in_c, d.k_h, d.k_w, d.out_c);
  const int64_t packing =
      kFloat * d.weight_shape().count() + pair_bytes(paired, d.in_c, d.k_h, d.k_w, d.out_c) + filters;
  const int64_t pictures = operand_bytes(products, d.n * d.out_h() * d.out_w(), d.out_c);
  const int64_t packed = filters > 0 ? filters : kFloat * d.weight_shape().count();
  const int64_t rounded = rounded_bytes(products, d.n * d.in_h * d.in_w, d.in_c);
  const int64_t added = conv2d_adds(products, d) ? operand_bytes(products, d.in_h * d.in_w + d.in_c, d.in_c) : 0;
  return std::max(packing, packed + pictures + added + of_phase) +
         (continues ? kFloat * d.input_shape().count() : rounded);
}

int64_t backward_weight_workspace(const WindowProducts& products, const Conv2dDesc& d) {
  return input_operand_bytes(products, d) + operand_bytes(products, d.n * d.out_h() * d.out_w(), d.out_c) +
         products.outer_workspace({.windows = windows_of(products, d), .rows = static_cast<int>(d.out_c)});
}

}  // namespace

const char* too_large(const Conv2dProblem& problem) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  const Conv2dDesc& d = problem.desc;
  const Padding& padding = d.window.padding;
  const int64_t padded = (d.in_h + padding.top + padding.bottom) * (d.in_w + padding.left + padding.right);
  const bool fits = d.n <= kMost / padded && d.n <= kMost / (d.out_h() * d.out_w()) &&
                    std::max(d.weight_shape().count() / d.in_c, d.k_h * d.k_w * d.in_c) <= kMost;
  return fits ? nullptr : "indices of pixels and taps are 32-bit numbers";
}

void conv2d_forward(const WindowProducts& products, const Conv2dDesc& d, const Conv2dForwardArgs& args) {
  const bool paired = !args.pooled_output && pairs_forward(products, d);
  const FilterRow row = filter_row(products, d);
  const auto make = [&] {
    return filters_of(products, paired, args.weight.data<float>(), d.out_c, d.k_h, row.taps, row.channels);
  };
  const bool makes = filter_bytes(products, paired, d.out_c, d.k_h, row.taps, row.channels) > 0;
  const void* const form = paired ? static_cast<const void*>(&products.outer) : &products.operand;
  const Tensor filters = weight_form(makes, args.weight, form, make);
  const Operand picture = input_operand(products, d, args.input_tensor, args.input);
  const bool relu = args.activation == Activation::relu;
  RoundedResults rounded(products, args.written_tensor, relu);
  const Windows windows = args.pooled_output ? cells_of(products, d) : windows_of(products, d);
  ResultMoments moments(products, windows, 1, relu || paired ? nullptr : args.written_tensor);
  GatherOutput output{.output = args.pooled_output ? args.pooled_output : args.output,
                      .channels = static_cast<int>(d.out_c),
                      .out_h = static_cast<int>(d.out_h()),
                      .out_w = static_cast<int>(d.out_w()),
                      .bias = args.bias,
                      .relu = relu,
                      .positive = args.relu_mask,
                      .pools = args.pooled_output != nullptr,
                      .max_pooled = args.max_pooled,
                      .choice = args.choice,
                      .rounded = rounded.data()};
  moments.add_to(output);
  products.gather(paired ? windows_of_pairs(windows) : windows, picture.data,
                  filters ? filters.raw() : args.weight.raw(), paired ? output_of_pairs(output) : output,
                  current_stream());
  rounded.keep();
  moments.keep();
}

void conv2d_backward_data(const WindowProducts& products, const Conv2dDesc& of, const Conv2dBackwardDataArgs& args) {
  const bool continues = is_continued(of.window.padding);
  const Conv2dDesc d = continues ? continued(of) : of;
  const bool paired = !args.added_features && pairs_backward(products, d);
  const Tensor packed = packed_weight(products, d, args.weight, paired);
  const Operand grad_output =
      args.choice || args.positive
          ? unpooled_gradient(products, d, args)
          : operand_of(products, args.grad_output_tensor, args.grad_output, d.n * d.out_h() * d.out_w(), d.out_c);
  const GradTarget target{args.grad_input, args.beta, args.relu_mask};
  if (!continues) {
    const Tensor* const written = is_dense(d) ? args.written_tensor : nullptr;
    RoundedResults rounded(products, written, bool{args.relu_mask});
    UnpooledResults unpooled(products, paired ? nullptr : written, args.input_route);
    if (args.added_features) {
      const auto values = [](const Tensor* tensor) { return tensor->data<float>(); };
      const Operand features =
                        operand_of(products, args.added_features, values(args.added_features), d.in_h * d.in_w, d.in_c),
                    matrix = operand_of(products, args.added_matrix, values(args.added_matrix), d.in_c, d.in_c);
      const AddedRows added{features.data, matrix.data, static_cast<int>(d.in_c)};
      gather_phases(products, d, packed, false, grad_output.data, target, added, rounded.data(), unpooled.where());
    } else {
      gather_phases(products, d, packed, paired, grad_output.data, target, {}, rounded.data(), unpooled.where());
    }
    rounded.keep();
    return unpooled.keep();
  }
  Tensor grad = Tensor::empty(d.input_shape(), Dtype::f32, args.weight.device());
  gather_phases(products, d, packed, paired, grad_output.data, {grad.data<float>(), 0.0f});
  pad_backward(of.input_shape(), of.window.padding, grad.data<float>(), target);
}

void conv2d_backward_weight(const WindowProducts& products, const Conv2dDesc& d, const Conv2dBackwardWeightArgs& args) {
  const Operand picture = input_operand(products, d, args.input_tensor, args.input);
  const Operand rows =
      operand_of(products, args.grad_output_tensor, args.grad_output, d.n * d.out_h() * d.out_w(), d.out_c);
  const OuterProduct product{.windows = windows_of(products, d), .rows = static_cast<int>(d.out_c), .beta = args.beta};
  products.outer(product, rows.data, picture.data, static_cast<int>(filter_row(products, d).channels), args.grad_weight,
                 current_stream());
}

bool conv2d_pools(const WindowProducts& products, const Conv2dProblem& problem) {
  const Conv2dDesc& d = problem.desc;
  if (d.out_c % 8 != 0 || !products.pools) return false;
  if (problem.direction == Conv2dDirection::forward) {
    return products.pools(cells_of(products, d), static_cast<int>(d.out_c));
  }
  return true;
}

bool conv2d_adds(const WindowProducts& products, const Conv2dDesc& d) {
  // What a style term multiplies by may be too small for fp16.
  return !products.reads_values && products.gathers(d.in_h * d.in_w, d.in_c) && products.dtype != Dtype::f16 &&
         products.channels(d.in_c) == d.in_c && d.n == 1 && is_dense(d) && !is_continued(d.window.padding);
}

int64_t conv2d_workspace(const WindowProducts& products, const Conv2dProblem& problem) {
  switch (problem.direction) {
    case Conv2dDirection::forward:
      return forward_workspace(products, problem.desc);
    case Conv2dDirection::backward_data:
      return backward_data_workspace(products, problem.desc);
    default:
      return backward_weight_workspace(products, problem.desc);
  }
}

int64_t conv2d_kept(const WindowProducts& products, const Conv2dProblem& problem) {
  const Conv2dDesc& d = problem.desc;
  if (problem.direction == Conv2dDirection::forward) {
    const auto [taps, channels] = filter_row(products, d);
    return filter_bytes(products, pairs_forward(products, d), d.out_c, d.k_h, taps, channels);
  }
  if (problem.direction != Conv2dDirection::backward_data || !is_dense(d)) return 0;
  const bool paired = pairs_backward(products, is_continued(d.window.padding) ? continued(d) : d);
  const int64_t operand = filter_bytes(products, paired, d.in_c, d.k_h, d.k_w, d.out_c);
  return operand > 0 ? operand : kFloat * d.weight_shape().count();
}

}  // namespace minidl::cuda
