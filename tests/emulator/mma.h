#pragma once
#include <emulator/block.h>

#include <cstdint>

/// Instructions of tensor cores: all 32 lanes of a warp hold fragments of the matrices, laid out as the PTX ISA says. g
/// = lane / 4, t = lane % 4. Products are added one after another in fp32; a GPU's order and width of accumulation are
/// not documented, so results are compared with a tolerance.
namespace minidl::emulator {

/// fp32 rounded to the 10 mantissa bits of TF32, to nearest with ties away from zero (cvt.rna.tf32.f32).
uint32_t to_tf32(float value);

/// d (16 x 8) += a (16 x 8) b (8 x 8) in TF32. a: rows g, g + 8, g, g + 8, columns t, t, t + 4, t + 4; b: rows t, t +
/// 4, column g; d: rows g, g, g + 8, g + 8, columns 2t, 2t + 1, 2t, 2t + 1. Operands are used without their lowest 13
/// bits.
void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                      Location location = Location::current());

/// d (16 x 8) += a (16 x 16) b (16 x 8) in bf16, two values a register, the lower column (row of b) in the lower half.
/// a: rows g, g + 8, g, g + 8, columns 2t, 2t, 2t + 8, 2t + 8 and the next; b: rows 2t, 2t + 8 and the next, column g;
/// d as above.
void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                       Location location = Location::current());

/// The same in fp16.
void mma_m16n8k16_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                      Location location = Location::current());

/// Four 8 x 8 matrices of 16-bit values from shared memory: lanes 8i to 8i + 7 give the rows of matrix i (16 bytes,
/// aligned); each lane gets columns 2t and 2t + 1 of row g of each.
void ldmatrix_x4(uint32_t (&r)[4], const void* row, Location location = Location::current());
/// The same transposed: each lane gets rows 2t and 2t + 1 of column g.
void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row, Location location = Location::current());
/// Two matrices, whose rows lanes 0 to 15 give.
void ldmatrix_x2(uint32_t (&r)[2], const void* row, Location location = Location::current());

}  // namespace minidl::emulator
