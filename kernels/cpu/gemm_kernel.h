#pragma once
#include <minidl/core/bit_mask.h>

#include <cstdint>

namespace minidl::cpu {

/// How a matrix product r = sum over k of A[m,k] B[k,n] is written:
///   C = act(beta * C + (relu_mask ? alpha * r : 0) + bias[n]).
/// Unused pointers are nullptr; with beta 0 the old C is not read. relu_mask has the layout of C.
struct GemmEpilogue {
  float* c = nullptr;
  BitSpan relu_mask = {};
  const float* bias = nullptr;
  float alpha = 1.0f, beta = 0.0f;
  bool relu = false;
};

/// Columns of B are packed in panels as wide as one micro-kernel call: up to four vectors of this machine, all of
/// nearly the same width.
struct GemmColumns {
  int64_t lanes;    // floats in a vector
  int64_t vectors;  // that hold all columns; the last one may be partly beyond them
  int64_t panels;

  explicit GemmColumns(int64_t columns);
  int64_t begin(int64_t panel) const { return panel * vectors / panels * lanes; }  // first column of a panel
  int64_t width(int64_t panel) const { return begin(panel + 1) - begin(panel); }   // 1 to 4 vectors
  int64_t padded() const { return vectors * lanes; }
};

constexpr int64_t kGemmRowSlack = 3;
/// Rows of A times panels of packed B, merged into C.
struct GemmBlock {
  int64_t rows = 0;
  /// [pieces, rows + kGemmRowSlack] pointers to `piece` values each; the extra rows are read, their values do not
  /// matter.
  const float* const* a = nullptr;
  int64_t pieces = 0, piece = 0;
  const int64_t* row_offset = nullptr;  // [rows]: where each row starts in C and relu_mask

  const float* b = nullptr;          // panels [b_depth, width], one after the other, from panel_begin on
  int64_t b_depth = 0, b_begin = 0;  // the block is [b_begin, b_begin + pieces * piece) of it
  const GemmColumns* layout = nullptr;
  int64_t panel_begin = 0, panel_end = 0;
  int64_t columns = 0;  // of C
  /// Packed B that is read after this block, or nullptr: it is fetched into the second cache while the last panel is
  /// multiplied, as every next panel is while the one before it is.
  const float* next = nullptr;

  /// In k: beta counts in the first block of a k range, bias and ReLU in the last.
  bool first = true, last = true;
};
void gemm_block(const GemmBlock& block, const GemmEpilogue& epilogue);

/// output[i, j] = input[j, i] for i in [0, rows), j in [0, columns); strides in floats.
void transpose(const float* input, int64_t input_stride, int64_t rows, int64_t columns, float* output,
               int64_t output_stride);

}  // namespace minidl::cpu
