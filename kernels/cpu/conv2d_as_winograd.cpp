#include <minidl/kernels/cpu/conv2d_as_winograd.h>
#include <minidl/kernels/cpu/conv2d_sides.h>

#include <algorithm>

namespace minidl::cpu {
namespace {

constexpr int64_t kLeastChannels = 16;  // below, the transforms cost more than the products they save

}  // namespace

const char* winograd_decline(const Conv2dProblem& problem) {
  const Conv2dDesc& d = problem.desc;
  if (d.k_h != 3 || d.k_w != 3 || d.window.stride_h != 1 || d.window.stride_w != 1) return "not 3x3 with stride 1";
  if (std::min(d.in_c, d.out_c) < kLeastChannels) return "too few channels";
  return nullptr;
}

WinogradConv winograd_conv(const Conv2dProblem& problem) {
  return problem.direction == Conv2dDirection::forward ? forward_sides<WinogradConv>(problem.desc)
                                                       : backward_sides<WinogradConv>(problem.desc);
}

void winograd_forward(const Conv2dDesc& d, const Conv2dForwardArgs& args, WinogradRun run) {
  WinogradConv conv = forward_sides<WinogradConv>(d);
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
  WinogradConv conv = backward_sides<WinogradConv>(d);
  conv.picture = args.grad_output;
  conv.picture_choice = args.choice;
  conv.picture_positive = args.positive;
  const WinogradFilters filters{args.weight.data<float>() + 8 * d.in_c, 1, 9 * d.in_c, -d.in_c, &args.weight};
  run_backward(d, args, conv, [&](const WinogradConv& ready) { run(ready, filters); });
}

int64_t winograd_folded_count(const Conv2dProblem& problem) {
  return problem.direction == Conv2dDirection::backward_data ? folded_count(problem.desc) : 0;
}

}  // namespace minidl::cpu
