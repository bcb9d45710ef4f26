#pragma once
#include <minidl/kernels/accumulate.h>

#include <cstdint>

namespace minidl {

/// C[m,n] = alpha * sum over k of A[m,k] * B[k,n] + beta * C[m,n], row-major f32 with row strides; a transposed operand is stored as A[k,m] or
/// B[n,k]. With beta 0, C is not read. Same bytes for every number of threads.
struct GemmDesc {
  int64_t m = 0, n = 0, k = 0;
  bool transpose_a = false, transpose_b = false;
  int64_t lda = 0, ldb = 0, ldc = 0;  // elements between rows as stored; at least the row's length
  float alpha = 1.0f, beta = 0.0f;
};
/// All three matrices are in the memory of `device`. Throws Error for strides below a row's length and negative sizes, on a CUDA device for sizes
/// above 2^31 - 1.
void gemm(const GemmDesc& desc, const float* a, const float* b, float* c, Device device = Device::cpu());

/// output[m,n] = sum over k of input[m,k] * weight[n,k] + bias[n] (fully connected layer). input [m,k], weight [n,k], bias [n] or undefined, output [m,n].
/// These throw Error for other shapes, types and devices.
void linear_forward(const Tensor& input, const Tensor& weight, const Tensor& bias, Tensor& output);
/// grad_input gets grad_output * weight as `how` says; grad_weight = beta * grad_weight + grad_outputᵀ * input.
void linear_backward_data(const Tensor& weight, const Tensor& grad_output, const Accumulate& how, Tensor& grad_input);
void linear_backward_weight(const Tensor& input, const Tensor& grad_output, float beta, Tensor& grad_weight);

}  // namespace minidl
