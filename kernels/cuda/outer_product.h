#pragma once
#include <cuda_runtime.h>
#include <minidl/core/tensor.h>
#include <minidl/kernels/cuda/gather_product.h>

/// The matrix product under gradients of weights and under Gram matrices: sums of outer products over windows.
namespace minidl::cuda {

/// result[k, r, s, c] = scale * sum over windows w of rows[w, k] * (what tap (r, s) and channel c of window w reads)
struct OuterProduct {
  Windows windows;
  int rows;  // k < rows
  float scale = 1.0f;
  float beta = 0.0f;       // output = beta * output + result; with 0 it is not read
  bool symmetric = false;  // rows are the windows themselves, 1x1: only one half is computed, and mirrored; beta is 0
};

/// rows [windows, rows], picture as in Windows, output [rows, k_h, k_w, in_c]. Windows are cut into parts of a length
/// that depends on the sizes alone; each part is summed in fp32, the parts in order in f64.
void outer_product(const OuterProduct& product, const float* rows, const float* picture, float* output,
                   cudaStream_t stream);
/// The sums of each part, [parts, rows, windows.length()], unscaled; of a symmetric product what is not above the
/// diagonal.
Tensor outer_product_parts(const OuterProduct& product, const float* rows, const float* picture, cudaStream_t stream);

/// How many windows of `windows` a part has when the result is cut into `tiles`: enough parts to occupy a device, of
/// 256 to 2048 windows, and of more where a grid has no more parts.
int64_t windows_of_part(int64_t windows, int64_t tiles);

/// The end of it: adds partials [parts, rows, windows.length()]. Of their channels the output has the first in_c.
void add_outer_parts(const OuterProduct& product, int in_c, const Tensor& partials, float* output, cudaStream_t stream);

/// Bytes that it allocates.
int64_t outer_product_workspace(const OuterProduct& product);

}  // namespace minidl::cuda
