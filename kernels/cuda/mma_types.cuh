#pragma once
// The arithmetic of matrix products on tensor cores: what lies in memory, and how fragments of 32 bytes a row (mma.cuh)
// are multiplied: prepare() makes of a fragment's N registers the Operand<N> that multiply() takes, of kParts times as
// many. Format is what rounds to Element where that has 16 bits.
#include <minidl/kernels/cuda/half_formats.cuh>
#include <minidl/kernels/cuda/mma.cuh>

#include <cstdint>

namespace minidl::cuda {

/// A fragment's registers as they are multiplied.
template <typename Memory>
struct MmaOnePart {
  using Element = Memory;
  using Format = void;
  static constexpr int kParts = 1;

  template <int N>
  struct Operand {
    uint32_t r[N];
  };
};

/// fp32 in memory, operands rounded to the 10 bits of TF32.
struct MmaTf32 : MmaOnePart<float> {
  template <int N>
  MINIDL_DEVICE static void prepare(const uint32_t (&raw)[N], Operand<N>& x) {
    MINIDL_UNROLL
    for (int i = 0; i < N; ++i) x.r[i] = nearest_tf32(raw[i]);
  }
  MINIDL_DEVICE static void multiply(float (&d)[4], const Operand<4>& a, const Operand<2>& b) {
    mma_m16n8k8_tf32(d, a.r, b.r);
  }
};

/// fp32 in memory, operands in two parts of TF32 each: x = big + small, with 21 bits. Of the products of parts that of
/// the small ones is left out; the one of the big ones comes last. An infinity becomes NaN. Tensor cores cut what they
/// add to the accumulator off instead of rounding it (Fasi et al. 2021, "Numerical behavior of NVIDIA tensor cores"),
/// which over thousands of terms is more than fp32 may lose: so they sum eight terms, and those sums are added outside.
struct MmaTf32x3 {
  using Element = float;
  using Format = void;
  static constexpr int kParts = 2;

  template <int N>
  struct Operand {
    uint32_t big[N], small[N];
  };
  template <int N>
  MINIDL_DEVICE static void prepare(const uint32_t (&raw)[N], Operand<N>& x) {
    MINIDL_UNROLL
    for (int i = 0; i < N; ++i) {
      const float value = __uint_as_float(raw[i]);
      x.big[i] = to_tf32(value);
      x.small[i] = nearest_tf32(__float_as_uint(value - __uint_as_float(x.big[i])));
    }
  }
  MINIDL_DEVICE static void multiply(float (&d)[4], const Operand<4>& a, const Operand<2>& b) {
    float sum[4] = {};
    mma_m16n8k8_tf32(sum, a.small, b.big);
    mma_m16n8k8_tf32(sum, a.big, b.small);
    mma_m16n8k8_tf32(sum, a.big, b.big);
    MINIDL_UNROLL
    for (int i = 0; i < 4; ++i) d[i] += sum[i];
  }
};

/// 16 bits in memory, two values a register.
struct MmaHalves : MmaOnePart<uint16_t> {
  template <int N>
  MINIDL_DEVICE static void prepare(const uint32_t (&raw)[N], Operand<N>& x) {
    MINIDL_UNROLL
    for (int i = 0; i < N; ++i) x.r[i] = raw[i];
  }
};
struct MmaBf16 : MmaHalves {
  using Format = Bf16;

  MINIDL_DEVICE static void multiply(float (&d)[4], const Operand<4>& a, const Operand<2>& b) {
    mma_m16n8k16_bf16(d, a.r, b.r);
  }
};
struct MmaFp16 : MmaHalves {
  using Format = Half;

  MINIDL_DEVICE static void multiply(float (&d)[4], const Operand<4>& a, const Operand<2>& b) {
    mma_m16n8k16_f16(d, a.r, b.r);
  }
};

}  // namespace minidl::cuda
