#include <minidl/core/tensor.h>
#include <minidl/kernels/cpu/backward_phase.h>
#include <minidl/kernels/cpu/conv2d_as_winograd.h>
#include <minidl/kernels/cpu/conv2d_engines.h>
#include <minidl/kernels/cpu/conv2d_sides.h>
#include <minidl/kernels/cpu/direct_bf16.h>
#include <minidl/kernels/filter_cache.h>

#include <algorithm>
#include <vector>

namespace minidl::cpu {
namespace {

constexpr int64_t kFloat = sizeof(float), kBit16 = sizeof(uint16_t);
constexpr int64_t kLeastOutputs = 8;  // of 32 that are computed together
constexpr int64_t kLeastRun = 16;     // values of a window that lie together, of 32 that a step multiplies
constexpr int64_t kFewTiles = 128;    // of Winograd's, for which its filters are too much to transform or to read

const AmxBody& body() {
  return bf16_body() ? *bf16_body() : amx_body();
}

/// Runs them with filters that are kept with `weight`.
void run(const std::vector<Bf16Conv>& convs, const Conv2dDesc& d, bool backward, const Tensor& weight) {
  std::vector<DirectBf16> parts;
  for (const Bf16Conv& conv : convs) parts.emplace_back(conv, body());
  const auto pack = [&] {
    int64_t count = 0;
    for (const DirectBf16& part : parts) count += part.filters_count();
    Tensor packed = Tensor::empty({count / 2});
    auto* output = reinterpret_cast<uint16_t*>(packed.data<float>());
    for (const DirectBf16& part : parts) {
      part.pack(output);
      output += part.filters_count();
    }
    return packed;
  };
  // Packed filters depend on the direction and the strides.
  constexpr int64_t kKeptStrides = 4;
  static const char kForms[2][kKeptStrides][kKeptStrides] = {};
  const Window& window = d.window;
  const bool is_kept = std::max(window.stride_h, window.stride_w) <= kKeptStrides;
  const Tensor filters =
      is_kept ? kept_filters(weight, &kForms[backward][window.stride_h - 1][window.stride_w - 1], pack) : pack();
  const auto* bits = reinterpret_cast<const uint16_t*>(filters.data<float>());
  for (const DirectBf16& part : parts) {
    if (part.has_outputs()) part.run(bits);
    bits += part.filters_count();
  }
}

Bf16Conv forward_conv(const Conv2dDesc& d) {
  Bf16Conv conv = forward_sides<Bf16Conv>(d);
  conv.k_h = d.k_h, conv.k_w = d.k_w;
  conv.stride_h = d.window.stride_h, conv.stride_w = d.window.stride_w;
  conv.k_stride = d.k_h * d.k_w * d.in_c, conv.c_stride = 1;
  conv.row_stride = d.k_w * d.in_c, conv.column_stride = d.in_c;
  conv.lay_out_densely();
  return conv;
}

/// The whole gradient, of the padded picture when it is to be folded.
Bf16Conv backward_target(const Conv2dDesc& d) {
  Bf16Conv conv = backward_sides<Bf16Conv>(d);
  conv.lay_out_densely();
  return conv;
}

/// One convolution for each phase of the strides, those without a pixel included: packed filters are of all.
std::vector<Bf16Conv> backward_convs(const Conv2dDesc& d, const Bf16Conv& target) {
  const bool folded = is_folded(d.window.padding);
  const int64_t top = folded ? 0 : d.window.padding.top, left = folded ? 0 : d.window.padding.left;
  std::vector<Bf16Conv> convs;
  for (int64_t r = 0; r < d.window.stride_h; ++r) {
    for (int64_t s = 0; s < d.window.stride_w; ++s) {
      const BackwardPhase rows(r, d.window.stride_h, d.k_h, top, target.out_h),
          columns(s, d.window.stride_w, d.k_w, left, target.out_w);
      Bf16Conv conv = target;
      conv.top = rows.pad(), conv.left = columns.pad();
      conv.k_h = rows.taps, conv.k_w = columns.taps;
      conv.out_h = rows.count, conv.out_w = columns.count;
      conv.k_stride = 1, conv.c_stride = d.k_h * d.k_w * d.in_c;
      conv.row_stride = -rows.stride * d.k_w * d.in_c, conv.column_stride = -columns.stride * d.in_c;
      if (target.weight) conv.weight += (rows.tap(0) * d.k_w + columns.tap(0)) * d.in_c;
      conv.out_row = rows.stride * target.out_row, conv.out_pixel = columns.stride * target.out_pixel;
      if (conv.has_outputs()) {
        const int64_t first = rows.position(0) * target.out_row + columns.position(0) * target.out_pixel;
        if (target.output) conv.output += first;
        if (target.relu_mask) conv.relu_mask = target.relu_mask.from(first);
      }
      convs.push_back(conv);
    }
  }
  return convs;
}

void forward(const Conv2dDesc& d, const Conv2dForwardArgs& args) {
  Bf16Conv conv = forward_conv(d);
  conv.picture = args.input;
  conv.weight = args.weight.data<float>();
  conv.output = args.output;
  conv.bias = args.bias;
  conv.relu = args.activation == Activation::relu;
  conv.positive_output = args.relu_mask;
  conv.pooled_output = args.pooled_output;
  conv.choice = args.choice;
  conv.max_pooled = args.max_pooled;
  run({conv}, d, false, args.weight);
}

void backward_data(const Conv2dDesc& d, const Conv2dBackwardDataArgs& args) {
  Bf16Conv target = backward_target(d);
  target.picture = args.grad_output;
  target.weight = args.weight.data<float>();
  target.picture_choice = args.choice;
  target.picture_positive = args.positive;
  run_backward(d, args, target, [&](const Bf16Conv& ready) { run(backward_convs(d, ready), d, true, args.weight); });
}

const char* decline(const Conv2dProblem& problem, Precision precision) {
  const Conv2dDesc& d = problem.desc;
  if (precision != Precision::bf16) return "computes in bf16 only";
  if (problem.direction == Conv2dDirection::backward_weight) return "has no backward_weight";
  const char* name = "direct_bf16";
  if (execution::conv2d_engine() == name || execution::verify_engine() == name) return nullptr;
  if (!bf16_body()) return "no bf16 instructions on this machine";
  const bool forward = problem.direction == Conv2dDirection::forward;
  const int64_t from = forward ? d.in_c : d.out_c, to = forward ? d.out_c : d.in_c;
  if (to < kLeastOutputs) return "too few output channels";
  if (d.k_w * from < kLeastRun) return "too short rows of a window";
  const bool is_amx_quicker = amx_available() && winograd_conv(problem).tiles() < kFewTiles;
  if (!winograd_decline(problem) && !is_amx_quicker) return "winograd's tiles need a quarter of the products";
  return nullptr;
}

std::vector<Bf16Conv> convs_of(const Conv2dProblem& problem) {
  if (problem.direction == Conv2dDirection::forward) return {forward_conv(problem.desc)};
  return backward_convs(problem.desc, backward_target(problem.desc));
}

int64_t kept_bytes(const Conv2dProblem& problem) {
  int64_t count = 0;
  for (const Bf16Conv& conv : convs_of(problem)) count += DirectBf16(conv, body()).filters_count();
  return kBit16 * count;
}

int64_t workspace_bytes(const Conv2dProblem& problem) {
  int64_t most = 0;
  for (const Bf16Conv& conv : convs_of(problem)) most = std::max(most, DirectBf16(conv, body()).workspace_bytes());
  const bool backward = problem.direction == Conv2dDirection::backward_data;
  return most + kept_bytes(problem) + (backward ? kFloat * folded_count(problem.desc) : 0);
}

}  // namespace

const Conv2dEngine conv2d_direct_bf16{.name = "direct_bf16",
                                      .device = Device::Kind::cpu,
                                      .error = 5e-3,
                                      .grade = Precision::bf16,
                                      .exact_integers = true,
                                      .decline = decline,
                                      .workspace_bytes = workspace_bytes,
                                      .kept_bytes = kept_bytes,
                                      .spared_bytes = nullptr,
                                      .writes_relu_mask = vectors_fill_bytes,
                                      .pools = pools_whole_vectors,
                                      .forward = forward,
                                      .backward_data = backward_data,
                                      .backward_weight = nullptr};

}  // namespace minidl::cpu
