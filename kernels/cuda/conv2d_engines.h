#pragma once
#include <minidl/kernels/conv2d.h>

namespace minidl::cuda {

/// Matrix products in fp32 over windows that are gathered on the way: every shape, stride and padding. What the others
/// decline is computed by it.
extern const Conv2dEngine conv2d_simt;

/// The same products on tensor cores (compute capability 8.0 and later), up to 15 x 15 taps, of pictures that are
/// reflected once at the most: operands rounded to TF32, bf16 or fp16, or in two parts of TF32 each; sums in fp32.
extern const Conv2dEngine conv2d_mma_tf32, conv2d_mma_bf16, conv2d_mma_fp16, conv2d_mma_3xtf32;

}  // namespace minidl::cuda
