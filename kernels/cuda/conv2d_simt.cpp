#include <minidl/kernels/cuda/conv2d_engines.h>
#include <minidl/kernels/cuda/conv2d_passes.h>

namespace minidl::cuda {
const Conv2dEngine conv2d_simt{
    .name = "simt",
    .device = Device::Kind::cuda,
    .error = 3e-6,
    .exact_integers = true,
    .decline = [](const Conv2dProblem& problem, Precision) { return too_large(problem); },
    .workspace_bytes = [](const Conv2dProblem& problem) { return conv2d_workspace(products_simt, problem); },
    .kept_bytes = [](const Conv2dProblem& problem) { return conv2d_kept(products_simt, problem); },
    .spared_bytes = nullptr,
    .writes_relu_mask = [](const Conv2dDesc& d) { return d.out_c % 8 == 0; },
    .pools = nullptr,
    .forward = [](const Conv2dDesc& d, const Conv2dForwardArgs& args) { conv2d_forward(products_simt, d, args); },
    .backward_data = [](const Conv2dDesc& d,
                        const Conv2dBackwardDataArgs& args) { conv2d_backward_data(products_simt, d, args); },
    .backward_weight = [](const Conv2dDesc& d,
                          const Conv2dBackwardWeightArgs& args) { conv2d_backward_weight(products_simt, d, args); }};

}  // namespace minidl::cuda
