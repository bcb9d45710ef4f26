#pragma once
#include <minidl/core/tensor.h>

/// Operands in the form in which products on tensor cores copy them: 16 bytes at a time, of one tap.
namespace minidl::cuda {

/// Channels of an operand: a multiple of 4 in f32, of 8 in bf16 and f16.
int64_t operand_channels(Dtype dtype, int64_t channels);

/// values [rows, channels] as `dtype` (f32, bf16, f16), with zeros up to operand_channels(). Undefined where the values
/// can be read as they are.
Tensor mma_operand(Dtype dtype, const float* values, int64_t rows, int64_t channels);
/// output = a * x + b[channel], [rows, channels], and the same as an operand.
Tensor shifted_operand(Dtype dtype, int64_t rows, int64_t channels, float a, const float* x, const float* b,
                       float* output);
/// Bytes that mma_operand() allocates for aligned values.
int64_t operand_bytes(Dtype dtype, int64_t rows, int64_t channels);

}  // namespace minidl::cuda
