#pragma once
// IEEE half precision as the header of the CUDA toolkit has it: storage and conversions, rounded to nearest even.
#include <bit>
#include <cstdint>

class __half {
 public:
  __half() = default;
  __half(float value) : value_(static_cast<_Float16>(value)) {}
  operator float() const { return static_cast<float>(value_); }

 private:
  _Float16 value_;
};
static_assert(sizeof(__half) == 2);
using half = __half;

inline __half __float2half(float value) {
  return value;
}
inline __half __float2half_rn(float value) {
  return value;
}
inline float __half2float(__half value) {
  return value;
}
inline uint16_t __half_as_ushort(__half value) {
  return std::bit_cast<uint16_t>(value);
}
inline __half __ushort_as_half(uint16_t bits) {
  return std::bit_cast<__half>(bits);
}
