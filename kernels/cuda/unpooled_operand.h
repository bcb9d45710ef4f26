#pragma once
#include <minidl/core/tensor.h>
#include <minidl/kernels/conv2d.h>

namespace minidl::cuda {

/// The gradient of a convolution's output [n, out_h, out_w, out_c], of which grad_output is pooled and sent to where
/// `choice` or `positive` of conv2d_pool2d.h say, as an operand of 16 bits (mma_operand.h). out_c is a multiple of 8.
Tensor unpooled_operand(Dtype dtype, const Conv2dDesc& desc, const uint8_t* choice, BitSpan positive,
                        const float* grad_output);

}  // namespace minidl::cuda
