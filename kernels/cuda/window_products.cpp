#include <minidl/kernels/cuda/gather_mma.h>
#include <minidl/kernels/cuda/outer_mma.h>
#include <minidl/kernels/cuda/window_products.h>
#include <minidl/kernels/execution.h>

namespace minidl::cuda {
namespace {

/// The same in every order of windows, so that what is pooled has the bytes of what is pooled later.
MmaPlan plan_of(const Windows& windows, int channels, Dtype dtype) {
  return plan_mma(int64_t{windows.n} * windows.windows_h * windows.windows_w, channels, windows.length(),
                  static_cast<int64_t>(size_of(dtype)));
}

template <Dtype kDtype, decltype(gather_mma_tf32) kGather, decltype(outer_mma_tf32) kOuter,
          decltype(outer_mma_tf32_parts) kOuterParts>
constexpr WindowProducts kOnTensorCores = {
    .dtype = kDtype,
    .reads_values = false,
    .operand = [](const float* values, int64_t rows,
                  int64_t channels) { return mma_operand(kDtype, values, rows, channels); },
    .gather =
        [](const Windows& windows, const void* picture, const void* weight, const GatherOutput& output,
           cudaStream_t stream) {
          const MmaPlan plan = with_added(plan_of(windows, output.channels, kDtype), windows.length(),
                                          output.added.terms, static_cast<int64_t>(size_of(kDtype)));
          kGather(plan, windows, picture, weight, output, stream);
        },
    .gather_workspace =
        [](const Windows& windows, int channels) {
          return mma_workspace(plan_of(windows, channels, kDtype), windows, channels);
        },
    .pools =
        [](const Windows& windows, int channels) {
          return windows.count() > 0 && windows.mode == Padding::Mode::zero &&
                 plan_of(windows, channels, kDtype).parts == 1;
        },
    .moment_rows = [](const Windows& windows,
                      int channels) { return moment_rows(plan_of(windows, channels, kDtype), windows); },
    .outer = [](const OuterProduct& product, const void* rows, const void* picture, int in_c, float* output,
                cudaStream_t stream) { kOuter(plan_outer_mma(product), product, rows, picture, in_c, output, stream); },
    .outer_parts =
        [](const OuterProduct& product, const void* rows, const void* picture, cudaStream_t stream) {
          return kOuterParts(plan_outer_mma(product), product, rows, picture, stream);
        },
    .outer_workspace =
        [](const OuterProduct& product) { return outer_mma_workspace(plan_outer_mma(product), product); }};

}  // namespace

const WindowProducts products_simt = {
    .dtype = Dtype::f32,
    .reads_values = true,
    .operand = [](const float*, int64_t, int64_t) { return Tensor(); },
    .gather =
        [](const Windows& windows, const void* picture, const void* weight, const GatherOutput& output,
           cudaStream_t stream) {
          gather_product(windows, static_cast<const float*>(picture), static_cast<const float*>(weight), output,
                         stream);
        },
    .gather_workspace = [](const Windows&, int) { return int64_t{0}; },
    .pools = nullptr,
    .moment_rows = nullptr,
    .outer =
        [](const OuterProduct& product, const void* rows, const void* picture, int, float* output,
           cudaStream_t stream) {
          outer_product(product, static_cast<const float*>(rows), static_cast<const float*>(picture), output, stream);
        },
    .outer_parts =
        [](const OuterProduct& product, const void* rows, const void* picture, cudaStream_t stream) {
          return outer_product_parts(product, static_cast<const float*>(rows), static_cast<const float*>(picture),
                                     stream);
        },
    .outer_workspace = outer_product_workspace};

const WindowProducts products_tf32 = kOnTensorCores<Dtype::f32, gather_mma_tf32, outer_mma_tf32, outer_mma_tf32_parts>;
const WindowProducts products_tf32x3 =
    kOnTensorCores<Dtype::f32, gather_mma_tf32x3, outer_mma_tf32x3, outer_mma_tf32x3_parts>;
const WindowProducts products_bf16 = kOnTensorCores<Dtype::bf16, gather_mma_bf16, outer_mma_bf16, outer_mma_bf16_parts>;
const WindowProducts products_fp16 = kOnTensorCores<Dtype::f16, gather_mma_fp16, outer_mma_fp16, outer_mma_fp16_parts>;

const WindowProducts& products_now() {
  switch (execution::precision()) {
    case Precision::tf32:
      return products_tf32;
    case Precision::bf16:
      return products_bf16;
    case Precision::fp16:
      return products_fp16;
    default:
      return products_simt;
  }
}

}  // namespace minidl::cuda
