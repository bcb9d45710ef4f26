#pragma once
#include <minidl/kernels/cpu/gemm_kernel.h>

#include <functional>

namespace minidl::cpu {

/// A matrix product whose operands are packed by the caller's functions as blocks of them are needed: a convolution
/// packs windows of its picture and never holds the whole unrolled matrix. Every number of threads gives the same
/// bytes: blocks depend on m, n and k alone.
struct PackedGemm {
  int64_t m = 0, n = 0, k = 0;
  /// Writes A[row + i, k + j] to output[i * depth + j] for i in [0, rows), j in [0, depth).
  std::function<void(int64_t row, int64_t rows, int64_t k, int64_t depth, float* output)> pack_rows = nullptr;
  /// Writes B[k + i, column + j] to output[i * stride + j] for i in [0, depth), j in [0, columns).
  std::function<void(int64_t k, int64_t depth, int64_t column, int64_t columns, float* output, int64_t stride)>
      pack_columns = nullptr;
  /// Where row m starts in C, in floats.
  std::function<int64_t(int64_t row)> row_offset = nullptr;
  GemmEpilogue epilogue = {};
};
void packed_gemm(const PackedGemm& gemm);

/// Most bytes that packed_gemm allocates for a product of this size with the present number of threads.
int64_t packed_gemm_workspace(int64_t m, int64_t n, int64_t k);

}  // namespace minidl::cpu
