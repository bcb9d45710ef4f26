#pragma once
#include <minidl/core/tensor.h>
#include <minidl/kernels/conv2d.h>

namespace minidl::cuda {

/// The gradient before the ReLU and the pool of conv2d_pool2d.h, [n, out_h, out_w, out_c], from the pooled one, as an
/// operand (mma_operand.h). `choice`: of the maximum; nullptr: the average, with `positive`. out_c is a
/// multiple of 8.
Tensor unpooled_operand(Dtype dtype, const Conv2dDesc& desc, const uint8_t* choice, BitSpan positive,
                        const float* grad_output);

}  // namespace minidl::cuda
