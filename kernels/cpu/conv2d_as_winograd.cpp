#include <minidl/core/tensor.h>
#include <minidl/kernels/cpu/conv2d_as_winograd.h>
#include <minidl/kernels/cpu/kernels.h>
#include <minidl/kernels/pad.h>

#include <algorithm>

namespace minidl::cpu {
namespace {

constexpr int64_t kLeastChannels = 16;  // below, the transforms cost more than the products they save

/// The gradient of the pixels of padding is computed, too, to be added to the pixels that they show.
bool is_folded(const Padding& padding) {
  return padding.mode != Padding::Mode::zero && padding.any();
}

WinogradConv forward_conv(const Conv2dDesc& d) {
  return {.n = d.n,
          .in_h = d.in_h,
          .in_w = d.in_w,
          .in_c = d.in_c,
          .top = d.window.padding.top,
          .left = d.window.padding.left,
          .mode = d.window.padding.mode,
          .out_h = d.out_h(),
          .out_w = d.out_w(),
          .out_c = d.out_c};
}

WinogradConv backward_conv(const Conv2dDesc& d) {
  const Padding& padding = d.window.padding;
  const bool folded = is_folded(padding);
  const Shape target = folded ? padded_shape(d.input_shape(), padding) : d.input_shape();
  return {.n = d.n,
          .in_h = d.out_h(),
          .in_w = d.out_w(),
          .in_c = d.out_c,
          .top = 2 - (folded ? 0 : padding.top),
          .left = 2 - (folded ? 0 : padding.left),
          .out_h = target[1],
          .out_w = target[2],
          .out_c = d.in_c};
}

}  // namespace

const char* winograd_decline(const Conv2dProblem& problem) {
  const Conv2dDesc& d = problem.desc;
  if (problem.direction == Conv2dDirection::backward_weight) return "has no backward_weight";
  if (d.k_h != 3 || d.k_w != 3 || d.window.stride_h != 1 || d.window.stride_w != 1) return "not 3x3 with stride 1";
  if (std::min(d.in_c, d.out_c) < kLeastChannels) return "too few channels";
  return nullptr;
}

WinogradConv winograd_conv(const Conv2dProblem& problem) {
  return problem.direction == Conv2dDirection::forward ? forward_conv(problem.desc) : backward_conv(problem.desc);
}

void winograd_forward(const Conv2dDesc& d, const Conv2dForwardArgs& args, WinogradRun run) {
  WinogradConv conv = forward_conv(d);
  conv.picture = args.input;
  conv.output = args.output;
  conv.bias = args.bias;
  conv.relu = args.activation == Activation::relu;
  conv.positive_output = args.relu_mask;
  conv.pooled_output = args.pooled_output;
  conv.choice = args.choice;
  conv.max_pooled = args.max_pooled;
  run(conv, {args.weight.data<float>(), 9 * d.in_c, 1, d.in_c, &args.weight});
}

void winograd_backward_data(const Conv2dDesc& d, const Conv2dBackwardDataArgs& args, WinogradRun run) {
  WinogradConv conv = backward_conv(d);
  conv.picture = args.grad_output;
  conv.picture_choice = args.choice;
  conv.picture_positive = args.positive;
  const WinogradFilters filters{args.weight.data<float>() + 8 * d.in_c, 1, 9 * d.in_c, -d.in_c, &args.weight};
  if (!is_folded(d.window.padding)) {
    conv.output = args.grad_input;
    conv.beta = args.beta;
    conv.relu_mask = args.relu_mask;
    run(conv, filters);
    return;
  }
  Tensor grad_padded = Tensor::empty({conv.n, conv.out_h, conv.out_w, conv.out_c});
  conv.output = grad_padded.data<float>();
  run(conv, filters);
  pad_backward(d.input_shape(), d.window.padding, conv.output, {args.grad_input, args.beta, args.relu_mask});
}

int64_t winograd_folded_count(const Conv2dProblem& problem) {
  if (problem.direction != Conv2dDirection::backward_data || !is_folded(problem.desc.window.padding)) return 0;
  const WinogradConv conv = backward_conv(problem.desc);
  return conv.n * conv.out_h * conv.out_w * conv.out_c;
}

}  // namespace minidl::cpu
