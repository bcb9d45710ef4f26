#pragma once
#include <minidl/core/tensor.h>
#include <minidl/kernels/cpu/window_product.h>

#include <cstdint>

namespace minidl::cpu {

/// Matrix products on the tiles of Intel's AMX instructions (Intel 64 and IA-32 Architectures Software Developer's
/// Manual, TDPBF16PS): operands in bf16, sums in f32. A number is split into parts,
///   x = x0 + x1 (+ x2) with x0 = bf16(x), x1 = bf16(x - x0), x2 = bf16(x - x0 - x1), each rounded to nearest even,
/// which keeps 8 of its bits in one part, 16 in two and all 24 in three. Of the products of parts those below the last
/// kept bit are left out: three remain of four, six of nine.
/// All operands are cut into blocks of 32 x 32 elements, 1024 together for each part.
constexpr int64_t kAmxBlock = 32, kAmxBlockCount = kAmxBlock * kAmxBlock;

/// Blocks for so many rows, columns or channels.
constexpr int64_t amx_blocks(int64_t count) {
  return (count + kAmxBlock - 1) / kAmxBlock;
}

/// The memory of an f32 tensor as bf16, two in each element.
inline uint16_t* bf16_bits(Tensor& tensor) {
  return reinterpret_cast<uint16_t*>(tensor.data<float>());
}

/// C = A B for a number of points, each with operands of its own, `*_plane` elements after those of the point before.
struct AmxProduct {
  int parts = 3;  // 1, 2 or 3
  int64_t points = 1;
  int64_t rows = 0;        // of A and C
  int64_t depth = 0;       // blocks
  int64_t depth_step = 0;  // blocks that are multiplied before the next rows are
  int64_t columns = 0;     // blocks

  const uint16_t* a = nullptr;  // [blocks of rows, depth, parts, 32 rows, 32]; rows beyond the last do not matter
  int64_t a_plane = 0;
  const uint16_t* b = nullptr;  // [columns, depth, parts, 2 halves, 16 pairs, 16 columns of the half, 2 of the pair]
  int64_t b_plane = 0;
  float* c = nullptr;  // [columns, c_rows, 32]; whole halves of a block of rows are written
  int64_t c_plane = 0, c_rows = 0;
  bool add = false;  // to what C has
};

/// One way to compute them. The instructions and the portable body give the same bytes; dot products sum in another
/// order.
struct AmxBody {
  void (*multiply)(const AmxProduct& product);
  /// values [rows, 32] to output[row * stride + part * 1024 + i], as a row of A.
  void (*split)(const float* values, int64_t rows, int parts, uint16_t* output, int64_t stride);
  /// A block of values [32, 32] to output[part * 1024 + ...], as a block of B.
  void (*split_columns)(const float* values, int parts, uint16_t* output);
  void (*multiply_windows)(const WindowProduct& product);
  void (*round)(const RowsToRound& rows);
};

/// The instructions: nullptr when the compiler, the processor or the system does not have them.
const AmxBody* amx_instructions();
/// The dot products of pairs in vectors, AVX512-BF16 (VDPBF16PS; AMD since Zen 4, Intel since Cooper Lake), which do
/// twice the work of fused multiply-adds: nullptr when there are none.
const AmxBody* bf16_dot_products();
/// The same arithmetic as the instructions' in Highway, for machines without them; slow.
const AmxBody& amx_portable();

/// Whether the instructions are part of the set in use (simd.h).
bool amx_available();
/// The instructions when available, else the portable body.
const AmxBody& amx_body();
/// For products of one part: the instructions, else the dot products, or nullptr when the set in use has neither.
const AmxBody* bf16_body();

}  // namespace minidl::cpu
