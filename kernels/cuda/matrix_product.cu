#include <minidl/core/cuda/backend.h>
#include <minidl/core/tensor.h>
#include <minidl/kernels/cuda/outer_product.h>
#include <minidl/kernels/cuda/pack_weight.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/cuda/map.cuh>

// Products of matrices in memory, by the products of convolutions: rows of A are windows of one pixel. What lies
// otherwise than those want it is copied first: a whole transposed matrix by tiles, as a weight of one tap, other
// things one element a thread.
namespace minidl::cuda {
namespace {

/// output[i, j] = x[i * row_stride + j * column_stride].
struct Copied {
  int64_t rows, columns, row_stride, column_stride;
};
MINIDL_KERNEL(kMapThreads, copy_matrix_kernel, Copied matrix, const float* x, float* output) {
  const int64_t i = int64_t{blockIdx.x} * kMapThreads + threadIdx.x;
  if (i >= matrix.rows * matrix.columns) return;
  store(output + i, load(x + i / matrix.columns * matrix.row_stride + i % matrix.columns * matrix.column_stride));
}

/// The matrix with its rows side by side: itself, or a copy that `memory` holds.
const float* rows_of(const Copied& matrix, const float* x, Tensor& memory) {
  if (matrix.rows == 0 || matrix.columns == 0) return x;
  if (matrix.column_stride == 1 && (matrix.row_stride == matrix.columns || matrix.rows == 1)) return x;
  memory = Tensor::empty({matrix.rows, matrix.columns}, Dtype::f32, current_device());
  constexpr int64_t kMostColumns = kMostBlocksAcross * 32;  // that a grid of pack_reversed has tiles for
  if (matrix.row_stride == 1 && matrix.column_stride == matrix.rows && matrix.columns <= kMostColumns) {
    const Taps tap{.out_c = static_cast<int>(matrix.columns),
                   .k_h = 1,
                   .k_w = 1,
                   .in_c = static_cast<int>(matrix.rows),
                   .count_h = 1,
                   .count_w = 1};
    pack_reversed(tap, x, memory.data<float>(), current_stream());
    return memory.data<float>();
  }
  MINIDL_LAUNCH(copy_matrix_kernel, blocks_for(matrix.rows * matrix.columns, kMapThreads), kMapThreads, 0,
                current_stream(), matrix, x, memory.data<float>());
  return memory.data<float>();
}

/// Without channels, windows of no taps.
Windows pixels_of(int64_t count, int64_t channels) {
  return {.n = 1,
          .in_h = 1,
          .in_w = static_cast<int>(count),
          .in_c = static_cast<int>(std::max<int64_t>(1, channels)),
          .k_h = channels > 0 ? 1 : 0,
          .windows_h = 1,
          .windows_w = static_cast<int>(count)};
}

}  // namespace

void matrix_product(const GemmDesc& desc, const float* a, const float* b, const float* bias, const GradTarget& target) {
  if (desc.m == 0 || desc.n == 0) return;
  const int64_t largest = std::max({desc.m, desc.n, desc.k, desc.ldc});
  MINIDL_CHECK(largest <= INT32_MAX, "[gemm] sizes {} x {} x {} are too large for a CUDA device", desc.m, desc.n,
               desc.k);
  Tensor left, right;
  const bool outer = desc.transpose_a && !desc.transpose_b && desc.lda == desc.m && desc.ldb == desc.n &&
                     desc.ldc == desc.n && !bias && !target.relu_mask;
  if (outer) {
    const OuterProduct product{.windows = pixels_of(desc.k, desc.n),
                               .rows = static_cast<int>(desc.m),
                               .scale = desc.alpha,
                               .beta = target.beta};
    return outer_product(product, a, b, target.grad, current_stream());
  }
  const Copied a_rows{desc.m, desc.k, desc.transpose_a ? 1 : desc.lda, desc.transpose_a ? desc.lda : 1};
  const Copied b_columns{desc.n, desc.k, desc.transpose_b ? desc.ldb : 1, desc.transpose_b ? 1 : desc.ldb};
  const GatherOutput output{.output = target.grad,
                            .channels = static_cast<int>(desc.n),
                            .pitch = static_cast<int>(desc.ldc),
                            .out_h = 1,
                            .out_w = static_cast<int>(desc.m),
                            .bias = bias,
                            .scale = desc.alpha,
                            .beta = target.beta,
                            .mask = target.relu_mask};
  gather_product(pixels_of(desc.m, desc.k), rows_of(a_rows, a, left), rows_of(b_columns, b, right), output,
                 current_stream());
}

}  // namespace minidl::cuda
