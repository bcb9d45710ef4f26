#include <minidl/kernels/cpu/simd.h>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "minidl/kernels/cpu/half.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include <minidl/kernels/cpu/map-inl.h>

HWY_BEFORE_NAMESPACE();
namespace minidl::cpu::HWY_NAMESPACE {

// By integers, because not every instruction set has the conversion, and the bytes are to be the same.

constexpr uint32_t kRebias = (127 - 15) << 23, kSign = 0x80000000, kInfinity = 0x7f800000;

/// Halves of the lanes, as 16 bits in 32.
template <class D>
HWY_INLINE hn::Vec<hn::Rebind<uint32_t, D>> half_of(D d, hn::Vec<D> x) {
  const hn::Rebind<uint32_t, D> du;
  const auto magnitude = hn::Min(hn::Abs(x), hn::Set(d, 65504.0f));
  const auto bits = hn::BitCast(du, magnitude);
  const auto odd = hn::And(hn::ShiftRight<13>(bits), hn::Set(du, 1));
  const auto normal =
      hn::ShiftRight<13>(hn::Sub(hn::Add(hn::Add(bits, hn::Set(du, 0xfff)), odd), hn::Set(du, kRebias)));
  // The spacing of floats from 0.5 on is that of halves below 2^-14.
  const auto half = hn::Set(d, 0.5f);
  const auto small = hn::Sub(hn::BitCast(du, hn::Add(magnitude, half)), hn::BitCast(du, half));
  auto result = hn::IfThenElse(hn::RebindMask(du, hn::Lt(magnitude, hn::Set(d, 0x1p-14f))), small, normal);
  result = hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(x)), hn::Set(du, 0x7e00), result);
  return hn::Or(result, hn::ShiftRight<16>(hn::And(hn::BitCast(du, x), hn::Set(du, kSign))));
}

/// The reverse.
template <class D>
HWY_INLINE hn::Vec<D> float_of(D d, hn::Vec<hn::Rebind<uint32_t, D>> half) {
  const hn::Rebind<uint32_t, D> du;
  const auto shifted = hn::ShiftLeft<13>(hn::And(half, hn::Set(du, 0x7fff)));
  const auto finite = hn::BitCast(du, hn::Mul(hn::BitCast(d, shifted), hn::Set(d, 0x1p112f)));
  const auto special = hn::Gt(shifted, hn::Set(du, 0x7bff << 13));
  const auto result = hn::IfThenElse(special, hn::Or(shifted, hn::Set(du, kInfinity)), finite);
  return hn::BitCast(d, hn::Or(result, hn::And(hn::ShiftLeft<16>(half), hn::Set(du, kSign))));
}

/// bf16 of the lanes, as 16 bits in 32: float_to_bfloat16.
template <class D>
HWY_INLINE hn::Vec<hn::Rebind<uint32_t, D>> bf16_of(D /*d*/, hn::Vec<D> x) {
  const hn::Rebind<uint32_t, D> du;
  const auto bits = hn::BitCast(du, x), odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1));
  const auto rounded = hn::Add(hn::Add(bits, hn::Set(du, 0x7fff)), odd), quiet = hn::Or(bits, hn::Set(du, 0x400000));
  return hn::ShiftRight<16>(hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(x)), quiet, rounded));
}

/// halves = convert(d, x), 16 bits in the lower half of each lane.
template <class F>
void narrow(int64_t count, const float* x, uint16_t* halves, const F& convert) {
  parallel_for(0, count, kGrain, [&](int64_t begin, int64_t end) HWY_ATTR {
    for_lanes(begin, end, [&](auto d, int64_t i) HWY_ATTR {
      const hn::Rebind<uint16_t, decltype(d)> d16;
      hn::StoreU(hn::TruncateTo(d16, convert(d, hn::LoadU(d, x + i))), d16, halves + i);
    });
  });
}

/// x = convert(d, halves), which come as 16 bits in the lower half of each lane.
template <class F>
void widen(int64_t count, const uint16_t* halves, float* x, const F& convert) {
  parallel_for(0, count, kGrain, [&](int64_t begin, int64_t end) HWY_ATTR {
    for_lanes(begin, end, [&](auto d, int64_t i) HWY_ATTR {
      const hn::Rebind<uint16_t, decltype(d)> d16;
      const hn::Rebind<uint32_t, decltype(d)> d32;
      hn::StoreU(convert(d, hn::PromoteTo(d32, hn::LoadU(d16, halves + i))), d, x + i);
    });
  });
}

void to_half(int64_t count, const float* x, uint16_t* halves) {
  narrow(count, x, halves, [](auto d, auto v) HWY_ATTR { return half_of(d, v); });
}
void from_half(int64_t count, const uint16_t* halves, float* x) {
  widen(count, halves, x, [](auto d, auto v) HWY_ATTR { return float_of(d, v); });
}
void to_bf16(int64_t count, const float* x, uint16_t* halves) {
  narrow(count, x, halves, [](auto d, auto v) HWY_ATTR { return bf16_of(d, v); });
}
void from_bf16(int64_t count, const uint16_t* halves, float* x) {
  widen(count, halves, x, [](auto d, auto v) HWY_ATTR { return hn::BitCast(d, hn::ShiftLeft<16>(v)); });
}

}  // namespace minidl::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace minidl::cpu {

HWY_EXPORT(to_half);
HWY_EXPORT(from_half);
HWY_EXPORT(to_bf16);
HWY_EXPORT(from_bf16);

void to_half(int64_t count, const float* x, uint16_t* halves) {
  MINIDL_DISPATCH(to_half)(count, x, halves);
}
void from_half(int64_t count, const uint16_t* halves, float* x) {
  MINIDL_DISPATCH(from_half)(count, halves, x);
}
void to_bf16(int64_t count, const float* x, uint16_t* halves) {
  MINIDL_DISPATCH(to_bf16)(count, x, halves);
}
void from_bf16(int64_t count, const uint16_t* halves, float* x) {
  MINIDL_DISPATCH(from_bf16)(count, halves, x);
}

}  // namespace minidl::cpu
#endif  // HWY_ONCE
