#pragma once
#include <minidl/kernels/conv2d.h>
#include <minidl/kernels/cuda/window_products.h>

/// Convolutions and their gradients as the two matrix products over windows, in any arithmetic that has these.
namespace minidl::cuda {

/// Why 32-bit indices would not do for a problem, or nullptr.
const char* too_large(const Conv2dProblem& problem);

void conv2d_forward(const WindowProducts& products, const Conv2dDesc& d, const Conv2dForwardArgs& args);
void conv2d_backward_data(const WindowProducts& products, const Conv2dDesc& d, const Conv2dBackwardDataArgs& args);
void conv2d_backward_weight(const WindowProducts& products, const Conv2dDesc& d, const Conv2dBackwardWeightArgs& args);

/// Whether the pass pools what it writes, or spreads a pooled gradient where it makes an operand of it.
bool conv2d_pools(const WindowProducts& products, const Conv2dProblem& problem);

/// Whether backward_data adds a product of features as it goes.
bool conv2d_adds(const WindowProducts& products, const Conv2dDesc& d);

int64_t conv2d_workspace(const WindowProducts& products, const Conv2dProblem& problem);
/// Of it, forms of the weight that are kept with it.
int64_t conv2d_kept(const WindowProducts& products, const Conv2dProblem& problem);

}  // namespace minidl::cuda
