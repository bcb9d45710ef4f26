#pragma once
// The formats of operands: those of 16 bits, rounded to nearest even, and fp32.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <minidl/core/cuda/launch.cuh>

#include <cstdint>

namespace minidl::cuda {

struct Half {
  using Element = uint16_t;
  /// What is beyond the largest number becomes that; NaN stays NaN.
  MINIDL_DEVICE static uint16_t bits(float value) {
    constexpr float kLargest = 65504.0f;
    return __half_as_ushort(__float2half_rn(value == value ? fminf(fmaxf(value, -kLargest), kLargest) : value));
  }
  MINIDL_DEVICE static float value(uint16_t bits) { return __half2float(__ushort_as_half(bits)); }
};
struct Bf16 {
  using Element = uint16_t;
  MINIDL_DEVICE static uint16_t bits(float value) { return __bfloat16_as_ushort(__float2bfloat16_rn(value)); }
  MINIDL_DEVICE static float value(uint16_t bits) { return __bfloat162float(__ushort_as_bfloat16(bits)); }
};
struct Fp32 {
  using Element = float;
  MINIDL_DEVICE static float bits(float value) { return value; }
};

}  // namespace minidl::cuda
