#include <minidl/kernels/cuda/conv2d_engines.h>
#include <minidl/kernels/cuda/conv2d_passes.h>

namespace minidl::cuda {
namespace {

constexpr WindowProducts kProducts{.dtype = Dtype::f32,
                                   .reads_values = true,
                                   .operand = [](const float*, int64_t, int64_t) { return Tensor(); },
                                   .gather =
                                       [](const Windows& windows, const void* picture, const void* weight,
                                          const GatherOutput& output, cudaStream_t stream) {
                                         gather_product(windows, static_cast<const float*>(picture),
                                                        static_cast<const float*>(weight), output, stream);
                                       },
                                   .gather_workspace = [](const Windows&, int) { return int64_t{0}; },
                                   .outer =
                                       [](const OuterProduct& product, const void* rows, const void* picture, int,
                                          float* output, cudaStream_t stream) {
                                         outer_product(product, static_cast<const float*>(rows),
                                                       static_cast<const float*>(picture), output, stream);
                                       },
                                   .outer_workspace = outer_product_workspace};

}  // namespace

const Conv2dEngine conv2d_simt{
    .name = "simt",
    .device = Device::Kind::cuda,
    .error = 3e-6,
    .exact_integers = true,
    .decline = [](const Conv2dProblem& problem, Precision) { return too_large(problem); },
    .workspace_bytes = [](const Conv2dProblem& problem) { return conv2d_workspace(kProducts, problem); },
    .kept_bytes = [](const Conv2dProblem& problem) { return conv2d_kept(kProducts, problem); },
    .spared_bytes = nullptr,
    .writes_relu_mask = [](const Conv2dDesc& d) { return d.out_c % 8 == 0; },
    .pools = nullptr,
    .forward = [](const Conv2dDesc& d, const Conv2dForwardArgs& args) { conv2d_forward(kProducts, d, args); },
    .backward_data = [](const Conv2dDesc& d,
                        const Conv2dBackwardDataArgs& args) { conv2d_backward_data(kProducts, d, args); },
    .backward_weight = [](const Conv2dDesc& d,
                          const Conv2dBackwardWeightArgs& args) { conv2d_backward_weight(kProducts, d, args); }};

}  // namespace minidl::cuda
