#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace minidl {

/// Element types of tensors. Arithmetic is done in f32; f16, bf16 and i8 exist for storage and files, i32 and u8 for indices and masks.
enum class Dtype { f32, f16, bf16, f64, i64, i32, i8, u8 };

/// Bytes per element: 1 to 8.
size_t size_of(Dtype dtype);
/// "f32", "bf16", ...
std::string to_string(Dtype dtype);

template <typename T>
struct DtypeOf;
template <>
struct DtypeOf<float> { static constexpr Dtype value = Dtype::f32; };
template <>
struct DtypeOf<double> { static constexpr Dtype value = Dtype::f64; };
template <>
struct DtypeOf<int64_t> { static constexpr Dtype value = Dtype::i64; };
template <>
struct DtypeOf<int32_t> { static constexpr Dtype value = Dtype::i32; };
template <>
struct DtypeOf<int8_t> { static constexpr Dtype value = Dtype::i8; };
template <>
struct DtypeOf<uint8_t> { static constexpr Dtype value = Dtype::u8; };

/// IEEE half and bfloat16 <-> float, round to nearest even; infinities and NaN are kept, subnormal halves are exact.
float half_to_float(uint16_t bits);
uint16_t float_to_half(float value);
float bfloat16_to_float(uint16_t bits);
uint16_t float_to_bfloat16(float value);

}  // namespace minidl
