#pragma once
// The formats of 16 bits, rounded to nearest even.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <minidl/core/cuda/launch.cuh>

#include <cstdint>

namespace minidl::cuda {

struct Half {
  /// What is beyond the largest number becomes that; NaN stays NaN.
  MINIDL_DEVICE static uint16_t bits(float value) {
    constexpr float kLargest = 65504.0f;
    return __half_as_ushort(__float2half_rn(value > kLargest ? kLargest : value < -kLargest ? -kLargest : value));
  }
  MINIDL_DEVICE static float value(uint16_t bits) { return __half2float(__ushort_as_half(bits)); }
};
struct Bf16 {
  MINIDL_DEVICE static uint16_t bits(float value) { return __bfloat16_as_ushort(__float2bfloat16_rn(value)); }
  MINIDL_DEVICE static float value(uint16_t bits) { return __bfloat162float(__ushort_as_bfloat16(bits)); }
};

}  // namespace minidl::cuda
