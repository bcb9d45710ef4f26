#pragma once
#include <minidl/core/tensor.h>
#include <minidl/kernels/conv2d.h>
#include <minidl/kernels/cuda/gather_product.h>
#include <minidl/kernels/cuda/mma_operand.h>
#include <minidl/kernels/cuda/outer_product.h>

/// Convolutions and their gradients as the two matrix products over windows, in any arithmetic that has these.
namespace minidl::cuda {

struct WindowProducts {
  Dtype dtype;        // of the operands
  bool reads_values;  // as they are, with any number of channels; else mma_operand.h says what operands are
  /// values [rows, channels] as an operand; undefined where they can be read as they are.
  Tensor (*operand)(const float* values, int64_t rows, int64_t channels);
  void (*gather)(const Windows& windows, const void* picture, const void* weight, const GatherOutput& output,
                 cudaStream_t stream);
  int64_t (*gather_workspace)(const Windows& windows, int channels);
  /// Channels of operands may be more than those of the output: they are `in_c` in memory.
  void (*outer)(const OuterProduct& product, const void* rows, const void* picture, int in_c, float* output,
                cudaStream_t stream);
  int64_t (*outer_workspace)(const OuterProduct& product);

  int64_t channels(int64_t channels) const { return reads_values ? channels : operand_channels(dtype, channels); }
};

/// Why 32-bit indices would not do for a problem, or nullptr.
const char* too_large(const Conv2dProblem& problem);

void conv2d_forward(const WindowProducts& products, const Conv2dDesc& d, const Conv2dForwardArgs& args);
void conv2d_backward_data(const WindowProducts& products, const Conv2dDesc& d, const Conv2dBackwardDataArgs& args);
void conv2d_backward_weight(const WindowProducts& products, const Conv2dDesc& d, const Conv2dBackwardWeightArgs& args);

int64_t conv2d_workspace(const WindowProducts& products, const Conv2dProblem& problem);
/// Of it, forms of the weight that are kept with it.
int64_t conv2d_kept(const WindowProducts& products, const Conv2dProblem& problem);

}  // namespace minidl::cuda
