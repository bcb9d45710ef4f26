#pragma once
// Tensor cores by instructions of a warp (compute capability 8.0 and later). All 32 lanes call together, with g = lane
// / 4, t = lane % 4. Reference: PTX ISA, "Matrix multiply-accumulate operation using mma instruction".
//   m16n8k8 TF32     a (16 x 8): rows g, g + 8, g, g + 8, columns t, t, t + 4, t + 4
//                    b (8 x 8): rows t, t + 4, column g
//   m16n8k16 16 bit  a (16 x 16): rows g, g + 8, g, g + 8, columns 2t, 2t, 2t + 8, 2t + 8 and the next
//                    b (16 x 8): rows 2t, 2t + 8 and the next, column g; two values a register, the lower index in the
//                    lower half
//   d (16 x 8) in both: rows g, g, g + 8, g + 8, columns 2t, 2t + 1, 2t, 2t + 1
// In bytes the fragments of both are the same: 16 rows of a and 8 columns of b, 32 bytes of each.
#include <minidl/core/cuda/launch.cuh>

#include <cstdint>

namespace minidl::cuda {

/// An operand that is fp32 rounded to TF32, to nearest with ties away from zero: half a unit more, because tensor cores
/// ignore the lowest 13 bits. NaN as arithmetic gives it (0x7fffffff) stays: the sum is beyond the largest number, and
/// below the bits themselves. Not all others do: bits from 0xfffff000 on become zero, and a NaN whose payload is in the
/// lowest 13 bits alone becomes infinity.
MINIDL_DEVICE uint32_t nearest_tf32(uint32_t bits) {
  return static_cast<uint32_t>(max(static_cast<int>(bits + 0x1000u), static_cast<int>(bits)));
}

#ifdef MINIDL_CUDA_EMULATED

using emulator::ldmatrix_x2;
using emulator::ldmatrix_x4;
using emulator::ldmatrix_x4_trans;
using emulator::mma_m16n8k16_bf16;
using emulator::mma_m16n8k16_f16;
using emulator::mma_m16n8k8_tf32;
using emulator::to_tf32;

#else

/// fp32 rounded to TF32 as nearest_tf32() rounds it, with zeros in the lowest 13 bits.
MINIDL_DEVICE uint32_t to_tf32(float value) {
  uint32_t rounded;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(value));
  return rounded;
}

/// d += a b; the lowest 13 bits of operands are ignored.
MINIDL_DEVICE void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// d += a b.
MINIDL_DEVICE void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

MINIDL_DEVICE void mma_m16n8k16_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// Four 8 x 8 matrices of 16-bit values: lanes 8i to 8i + 7 give the addresses of the rows of matrix i in shared memory
/// (16 bytes each, aligned); r[i] is row g, columns 2t and 2t + 1.
MINIDL_DEVICE void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

/// The same transposed: r[i] is rows 2t and 2t + 1, column g.
MINIDL_DEVICE void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

/// Two matrices, whose rows lanes 0 to 15 give; the addresses of the others are not used.
MINIDL_DEVICE void ldmatrix_x2(uint32_t (&r)[2], const void* row) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(address)
               : "memory");
}

#endif

}  // namespace minidl::cuda
