#include <minidl/core/parallel.h>
#include <minidl/core/tensor.h>
#include <minidl/kernels/cpu/conv2d_engines.h>
#include <minidl/kernels/cpu/conv2d_sides.h>
#include <minidl/kernels/cpu/direct.h>

#include <algorithm>
#include <utility>

namespace minidl::cpu {
namespace {

constexpr int64_t kFloat = sizeof(float);
constexpr int64_t kTasks = 32, kMostRows = 16;      // tasks aimed at; a task's rows share most of the lines they read
constexpr int64_t kMinTaskWork = int64_t{1} << 20;  // multiply-adds below which a task is not worth its start

const char* decline(const Conv2dProblem& problem, Precision precision) {
  const Conv2dDesc& d = problem.desc;
  const bool forward = problem.direction == Conv2dDirection::forward;
  if (!serves(precision)) return kFp32Only;
  if (problem.direction == Conv2dDirection::backward_weight) return "has no backward_weight";
  if (!forward && (d.window.stride_h > 1 || d.window.stride_w > 1)) return "has no backward_data with a stride";
  const int64_t from = forward ? d.in_c : d.out_c, to = forward ? d.out_c : d.in_c;
  if (from <= DirectConv::kFewChannels) return nullptr;
  if (to > DirectConv::kFewChannels) return "many channels on both sides";
  return d.k_w * from % DirectConv::kWholeRun == 0 ? nullptr : "a window's row is not made of whole vectors";
}

void run(const DirectConv& conv) {
  Tensor packed = Tensor::empty({direct_packed_count(conv)});
  direct_pack(conv, packed.data<float>());
  const float* filters = std::as_const(packed).data<float>();
  const int64_t rows = conv.n * conv.out_h, row_work = conv.out_w * conv.depth() * conv.out_c;
  const int64_t least = std::max<int64_t>(1, kMinTaskWork / row_work);
  const int64_t grain = std::max(least, std::min(rows / kTasks, kMostRows));
  parallel_for(0, rows, grain, [&](int64_t begin, int64_t end) {
    Tensor scratch = Tensor::empty({direct_scratch_count(conv)});
    for (int64_t row = begin; row < end; ++row) direct_row(conv, filters, row, scratch.data<float>());
  });
}

DirectConv conv_of(DirectConv sides, const Conv2dDesc& d) {
  sides.k_h = d.k_h;
  sides.k_w = d.k_w;
  return sides;
}

DirectConv forward_conv(const Conv2dDesc& d) {
  DirectConv conv = conv_of(forward_sides<DirectConv>(d), d);
  conv.stride_h = d.window.stride_h;
  conv.stride_w = d.window.stride_w;
  return conv;
}

DirectConv backward_conv(const Conv2dDesc& d) {
  return conv_of(backward_sides<DirectConv>(d), d);
}

void forward(const Conv2dDesc& d, const Conv2dForwardArgs& args) {
  DirectConv conv = forward_conv(d);
  conv.picture = args.input;
  conv.weight = args.weight.data<float>();
  conv.bias = args.bias;
  conv.relu = args.activation == Activation::relu;
  conv.output = args.output;
  conv.positive_output = args.relu_mask;
  run(conv);
}

/// turned[c, r, s, k] = weight[k, k_h - 1 - r, k_w - 1 - s, c].
Tensor turned_filters(const Conv2dDesc& d, const float* weight) {
  Tensor turned = Tensor::empty({d.in_c, d.k_h, d.k_w, d.out_c});
  float* output = turned.data<float>();
  const int64_t taps = d.k_h * d.k_w;
  for (int64_t c = 0; c < d.in_c; ++c) {
    for (int64_t tap = taps - 1; tap >= 0; --tap) {
      for (int64_t k = 0; k < d.out_c; ++k) *output++ = weight[(k * taps + tap) * d.in_c + c];
    }
  }
  return turned;
}

void backward_data(const Conv2dDesc& d, const Conv2dBackwardDataArgs& args) {
  const Tensor turned = turned_filters(d, args.weight.data<float>());
  DirectConv conv = backward_conv(d);
  conv.picture = args.grad_output;
  conv.weight = turned.data<float>();
  run_backward(d, args, conv, run);
}

int64_t workspace_bytes(const Conv2dProblem& problem) {
  const Conv2dDesc& d = problem.desc;
  const bool backward = problem.direction == Conv2dDirection::backward_data;
  const DirectConv conv = backward ? backward_conv(d) : forward_conv(d);
  const int64_t turned = backward ? d.weight_shape().count() : 0;
  const int64_t folded = backward ? folded_count(d) : 0;
  return kFloat * (turned + folded + direct_packed_count(conv) + num_threads() * direct_scratch_count(conv));
}

}  // namespace

const Conv2dEngine conv2d_direct{.name = "direct",
                                 .device = Device::Kind::cpu,
                                 .error = 1e-6,
                                 .exact_integers = true,
                                 .decline = decline,
                                 .workspace_bytes = workspace_bytes,
                                 .kept_bytes = nullptr,
                                 .spared_bytes = nullptr,
                                 .writes_relu_mask = vectors_fill_bytes,
                                 .pools = nullptr,
                                 .forward = forward,
                                 .backward_data = backward_data,
                                 .backward_weight = nullptr};

}  // namespace minidl::cpu
