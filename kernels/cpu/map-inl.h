// Elementwise loops in Highway, for files compiled once per instruction set (foreach_target): the guard lets each pass
// include it once.
#if defined(MINIDL_KERNELS_CPU_MAP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MINIDL_KERNELS_CPU_MAP_INL_H_
#undef MINIDL_KERNELS_CPU_MAP_INL_H_
#else
#define MINIDL_KERNELS_CPU_MAP_INL_H_
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>
#include <minidl/core/parallel.h>
#include <minidl/kernels/cpu/kernels.h>

#include <cstring>

HWY_BEFORE_NAMESPACE();
namespace minidl::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Keeps the compiler from loading a value anew for each of its products: loads are as scarce as multiplications.
template <class V>
HWY_INLINE void hold(V& value) {
#if HWY_ARCH_X86 && !HWY_COMPILER_MSVC
  asm("" : "+v"(value.raw));
#else
  (void)value;
#endif
}

/// f64 lanes of f32 or, as bits, bf16 values.
template <class D>
HWY_INLINE hn::Vec<D> load_promoted(D d, const float* x) {
  return hn::PromoteTo(d, hn::LoadU(hn::Rebind<float, D>(), x));
}
template <class D>
HWY_INLINE hn::Vec<D> load_promoted(D d, const uint16_t* x) {
  const hn::Rebind<uint32_t, D> bits;
  const auto shifted = hn::ShiftLeft<16>(hn::PromoteTo(bits, hn::LoadU(hn::Rebind<uint16_t, D>(), x)));
  return hn::PromoteTo(d, hn::BitCast(hn::Rebind<float, D>(), shifted));
}

/// Calls f(d, i) for whole vectors of tag d from `begin` on, then for single elements: nothing outside [begin, end) is
/// touched.
template <typename F>
HWY_INLINE void for_lanes(int64_t begin, int64_t end, const F& f) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> d1;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = begin;
  for (; i + lanes <= end; i += lanes) f(d, i);
  for (; i < end; ++i) f(d1, i);
}

/// output[i] = f(d, inputs[i]...) for i in [begin, end); `output` may be one of the inputs.
template <typename F, typename... Inputs>
HWY_INLINE void map_range(int64_t begin, int64_t end, float* output, const F& f, const Inputs*... inputs) {
  for_lanes(begin, end,
            [&](auto d, int64_t i) HWY_ATTR { hn::StoreU(f(d, hn::LoadU(d, inputs + i)...), d, output + i); });
}

/// map_range over [0, count) on all threads.
template <typename F, typename... Inputs>
void map(int64_t count, float* output, const F& f, const Inputs*... inputs) {
  parallel_for(0, count, kGrain,
               [&](int64_t begin, int64_t end) HWY_ATTR { map_range(begin, end, output, f, inputs...); });
}

/// Lanes of a mask from element i on.
template <class D>
HWY_INLINE hn::Mask<D> load_mask(D d, const BitSpan& mask, int64_t i) {
  const int64_t at = mask.first + i;
  uint64_t word;
  std::memcpy(&word, mask.bits + at / 8, sizeof(word));
  word >>= at % 8;
  uint8_t bits[sizeof(word)];
  std::memcpy(bits, &word, sizeof(word));
  return hn::LoadMaskBits(d, bits);
}

/// Writes lanes of a mask at element `at`. Whoever writes one bit of a byte writes all of them, in ascending order.
template <class D>
HWY_INLINE void store_mask(D d, hn::Mask<D> mask, int64_t at, uint8_t* bits) {
  uint8_t word[8] = {};
  hn::StoreMaskBits(d, mask, word);
  if constexpr (hn::MaxLanes(D()) >= 8) {
    std::memcpy(bits + at / 8, word, hn::MaxLanes(D()) / 8);
  } else {
    uint8_t& byte = bits[at / 8];
    byte = static_cast<uint8_t>((at % 8 == 0 ? 0 : byte) | word[0] << at % 8);
  }
}

/// Writes one vector of a gradient; kPastCache: whole vectors bypass the caches (aligned; a FlushStream must follow).
template <bool kPastCache = false, class D>
HWY_INLINE void store_grad(D d, const GradTarget& target, int64_t i, hn::Vec<D> r) {
  if (target.relu_mask) r = hn::IfThenElseZero(load_mask(d, target.relu_mask, i), r);
  if (target.beta != 0.0f) r = hn::Add(hn::Mul(hn::Set(d, target.beta), hn::LoadU(d, target.grad + i)), r);
  if constexpr (kPastCache && hn::MaxLanes(D()) > 1) {
    hn::Stream(r, d, target.grad + i);
  } else {
    hn::StoreU(r, d, target.grad + i);
  }
}

/// Writes the gradient f(d, inputs[i]...) for i in [begin, end).
template <typename F, typename... Inputs>
HWY_INLINE void accumulate_range(int64_t begin, int64_t end, const GradTarget& target, const F& f,
                                 const Inputs*... inputs) {
  for_lanes(begin, end,
            [&](auto d, int64_t i) HWY_ATTR { store_grad(d, target, i, f(d, hn::LoadU(d, inputs + i)...)); });
}

/// accumulate_range over [0, count) on all threads.
template <typename F, typename... Inputs>
void accumulate(int64_t count, const GradTarget& target, const F& f, const Inputs*... inputs) {
  parallel_for(0, count, kGrain,
               [&](int64_t begin, int64_t end) HWY_ATTR { accumulate_range(begin, end, target, f, inputs...); });
}

}  // namespace minidl::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
