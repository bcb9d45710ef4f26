#pragma once
#include <minidl/kernels/cpu/gemm_kernel.h>

#include <functional>

namespace minidl::cpu {

/// A part of A: rows [row, row + rows), columns [k, k + pieces * piece).
struct GemmRows {
  int64_t row = 0, rows = 0, k = 0;
  int64_t pieces = 1, piece = 0;
  int64_t depth() const { return pieces * piece; }
  float* buffer = nullptr;  // [rows, buffer_stride], scratch memory
  int64_t buffer_stride = 0;
  /// [pieces, stride]: where the `piece` values of each piece of each row begin, in the operand itself or in the
  /// buffer.
  const float** values = nullptr;
  int64_t stride = 0;
};

/// A matrix product whose operands are fetched by the caller's functions as blocks of them are needed: a convolution
/// reads windows of its picture and never holds the unrolled matrix. Every number of threads gives the same bytes:
/// blocks depend on m, n and k alone.
struct PackedGemm {
  int64_t m = 0, n = 0, k = 0;
  /// A row of A is a sequence of runs of this length that lie together in memory, so that pieces are cut at their ends;
  /// 0: all of it does, or nothing.
  int64_t run = 0;
  bool copied = false;  // read_rows always copies: fetch rows seldom
  /// Fills `values`; a piece that does not lie together in memory is copied to the buffer.
  std::function<void(const GemmRows& rows)> read_rows = nullptr;
  /// Writes B[k + i, column + j] to output[i * stride + j] for i in [0, depth), j in [0, columns).
  std::function<void(int64_t k, int64_t depth, int64_t column, int64_t columns, float* output, int64_t stride)>
      pack_columns = nullptr;
  /// Where row m starts in C, in floats.
  std::function<int64_t(int64_t row)> row_offset = nullptr;
  GemmEpilogue epilogue = {};
};
void packed_gemm(const PackedGemm& gemm);

/// read_rows for an operand that is stored transposed (run 0): fills the buffer from `input`, where A[row + i, k + j]
/// is input[j * stride + i].
void transpose_rows(const float* input, int64_t stride, const GemmRows& rows);

/// Most bytes that packed_gemm allocates for a product of this size with the present number of threads.
int64_t packed_gemm_workspace(int64_t m, int64_t n, int64_t k);

}  // namespace minidl::cpu
