#pragma once
#include <minidl/kernels/cpu/gemm_kernel.h>

#include <functional>

namespace minidl::cpu {

/// A piece of A: rows [row, row + rows), columns [k, k + depth).
struct GemmRows {
  int64_t row = 0, rows = 0, k = 0, depth = 0;
  float* buffer = nullptr;  // [rows, depth], scratch memory
  const float** values =
      nullptr;  // [rows]: where the `depth` values of each row begin, in the operand itself or in the buffer
};

/// A matrix product whose operands are fetched by the caller's functions as blocks of them are needed: a convolution
/// reads windows of its picture and never holds the unrolled matrix. Every number of threads gives the same bytes:
/// blocks depend on m, n and k alone.
struct PackedGemm {
  int64_t m = 0, n = 0, k = 0;
  /// Each row of A is a sequence of pieces of this length that lie together in memory; 0: of no use. Blocks are cut
  /// there if possible.
  int64_t run = 0;
  /// Fills `values`; a row that does not lie together in memory is copied to the buffer.
  std::function<void(const GemmRows& rows)> read_rows = nullptr;
  /// Writes B[k + i, column + j] to output[i * stride + j] for i in [0, depth), j in [0, columns).
  std::function<void(int64_t k, int64_t depth, int64_t column, int64_t columns, float* output, int64_t stride)>
      pack_columns = nullptr;
  /// Where row m starts in C, in floats.
  std::function<int64_t(int64_t row)> row_offset = nullptr;
  GemmEpilogue epilogue = {};
};
void packed_gemm(const PackedGemm& gemm);

/// read_rows for an operand that is stored transposed: fills the buffer from `input`, where A[row + i, k + j] is
/// input[j * stride + i].
void transpose_rows(const float* input, int64_t stride, const GemmRows& rows);

/// Most bytes that packed_gemm allocates for a product of this size with the present number of threads.
int64_t packed_gemm_workspace(int64_t m, int64_t n, int64_t k);

}  // namespace minidl::cpu
