#include <minidl/kernels/cuda/conv2d_engines.h>
#include <minidl/kernels/cuda/conv2d_passes.h>
#include <minidl/kernels/cuda/gather_mma.h>
#include <minidl/kernels/cuda/input_operand.h>

#include <algorithm>

namespace minidl::cuda {
namespace {

/// Whether the picture that a pass gathers from is too large.
bool gathers_too_much(const WindowProducts& products, const Conv2dProblem& problem) {
  const Conv2dDesc& d = problem.desc;
  if (problem.direction == Conv2dDirection::backward_weight) return false;
  if (problem.direction == Conv2dDirection::backward_data)
    return !products.gathers(d.n * d.out_h() * d.out_w(), d.out_c);
  const Windows windows = windows_of(products, d);
  return !products.gathers(int64_t{windows.n} * windows.in_h * windows.in_w, windows.in_c);
}

const char* declined_by_mma(const WindowProducts& products, const Conv2dProblem& problem) {
  const Conv2dDesc& d = problem.desc;
  const Padding& padding = d.window.padding;
  if (padding.mode == Padding::Mode::reflect &&
      (std::max(padding.top, padding.bottom) >= d.in_h || std::max(padding.left, padding.right) >= d.in_w)) {
    return "reflects a picture more than once";
  }
  // Masks of twice 16 bits say which taps are inside of a picture, and whether there is a window; a window's elements
  // are counted in 32 bits.
  if (d.k_h > kMostMmaTaps || d.k_w > kMostMmaTaps) return "has more than 15 rows or columns of taps";
  constexpr int64_t kMostRow = (int64_t{1} << 30) / kMostMmaTaps;
  const int64_t row_c = d.in_c < kFewChannels ? d.k_w * d.in_c : 0;  // of taps that are merged
  const int64_t most_w = std::max(d.in_w, d.out_w()), most_c = std::max({d.in_c, d.out_c, row_c}) + 8;
  if (most_w > kMostRow / most_c) return "indices within a window are 32-bit numbers";
  if (const char* reason = too_large(problem)) return reason;
  return gathers_too_much(products, problem) ? "gathers from at most 32 GiB" : nullptr;
}

template <Precision kPrecision, const WindowProducts& kOf>
const char* decline(const Conv2dProblem& problem, Precision precision) {
  if (precision == kPrecision) return declined_by_mma(kOf, problem);
  switch (kPrecision) {
    case Precision::tf32:
      return "computes in tf32 only";
    case Precision::bf16:
      return "computes in bf16 only";
    default:
      return "computes in fp16 only";
  }
}

template <const WindowProducts& kOf>
constexpr Conv2dEngine engine(const char* name, double error, Precision grade,
                              decltype(Conv2dEngine::decline) decline) {
  return {.name = name,
          .device = Device::Kind::cuda,
          .error = error,
          .grade = grade,
          .reads_halves = true,
          .exact_integers = true,
          .decline = decline,
          .workspace_bytes = [](const Conv2dProblem& problem) { return conv2d_workspace(kOf, problem); },
          .kept_bytes = [](const Conv2dProblem& problem) { return conv2d_kept(kOf, problem); },
          .spared_bytes = nullptr,
          .writes_relu_mask = [](const Conv2dDesc& d) { return d.out_c % 8 == 0; },
          .pools = [](const Conv2dProblem& problem) { return conv2d_pools(kOf, problem); },
          .adds = [](const Conv2dDesc& d) { return conv2d_adds(kOf, d); },
          .forward = [](const Conv2dDesc& d, const Conv2dForwardArgs& args) { conv2d_forward(kOf, d, args); },
          .backward_data = [](const Conv2dDesc& d,
                              const Conv2dBackwardDataArgs& args) { conv2d_backward_data(kOf, d, args); },
          .backward_weight = [](const Conv2dDesc& d,
                                const Conv2dBackwardWeightArgs& args) { conv2d_backward_weight(kOf, d, args); }};
}

}  // namespace

const Conv2dEngine conv2d_simt = engine<products_simt>(
    "simt", 3e-6, Precision::fp32, [](const Conv2dProblem& problem, Precision) { return too_large(problem); });
const Conv2dEngine conv2d_mma_tf32 =
    engine<products_tf32>("mma_tf32", 1e-3, Precision::tf32, decline<Precision::tf32, products_tf32>);
const Conv2dEngine conv2d_mma_bf16 =
    engine<products_bf16>("mma_bf16", 5e-3, Precision::bf16, decline<Precision::bf16, products_bf16>);
const Conv2dEngine conv2d_mma_fp16 =
    engine<products_fp16>("mma_fp16", 5e-3, Precision::fp16, decline<Precision::fp16, products_fp16>);
const Conv2dEngine conv2d_mma_3xtf32 = engine<products_tf32x3>(
    "mma_3xtf32", 3e-6, Precision::fp32,
    [](const Conv2dProblem& problem, Precision) { return declined_by_mma(products_tf32x3, problem); });

}  // namespace minidl::cuda
