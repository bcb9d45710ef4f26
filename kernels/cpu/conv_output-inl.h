// What WinogradConv and Bf16Conv do with the vectors that they write and with gradients of 2x2 windows, in Highway, for
// files compiled once per instruction set (foreach_target): the guard lets each pass include it once.
#if defined(MINIDL_KERNELS_CPU_CONV_OUTPUT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MINIDL_KERNELS_CPU_CONV_OUTPUT_INL_H_
#undef MINIDL_KERNELS_CPU_CONV_OUTPUT_INL_H_
#else
#define MINIDL_KERNELS_CPU_CONV_OUTPUT_INL_H_
#endif

#include <minidl/kernels/cpu/map-inl.h>

HWY_BEFORE_NAMESPACE();
namespace minidl::cpu::HWY_NAMESPACE {

/// What one pixel's vector of output channels, at output[at], becomes.
template <class D, class Conv, class V = hn::Vec<D>>
HWY_INLINE V finished(D d, const Conv& conv, int64_t at, V bias, V x) {
  const V zero = hn::Zero(d);
  if (conv.relu_mask) x = hn::IfThenElseZero(load_mask(d, conv.relu_mask, at), x);
  if (conv.beta != 0.0f) x = hn::MulAdd(hn::Set(d, conv.beta), hn::LoadU(d, conv.output + at), x);
  x = hn::Add(x, bias);
  if (conv.relu) x = hn::IfThenElse(hn::Lt(x, zero), zero, x);  // NaN stays NaN
  if (conv.positive_output) store_mask(d, hn::Gt(x, zero), at, conv.positive_output);
  return x;
}

/// Pools a window, pixels in the order of their choices; a NaN wins as in pool2d.
template <class D, class Conv, class V = hn::Vec<D>>
HWY_INLINE void pool_window(D d, const Conv& conv, int64_t at, const V (&x)[4]) {
  if (!conv.max_pooled) {
    const V sum = hn::Add(hn::Add(hn::Add(x[0], x[1]), x[2]), x[3]);
    hn::StoreU(hn::Mul(sum, hn::Set(d, 0.25f)), d, conv.pooled_output + at);
    return;
  }
  const hn::RebindToSigned<D> di;
  V best = x[0];
  auto choice = hn::Zero(di);
  HWY_UNROLL(3)
  for (int i = 1; i < 4; ++i) {
    const auto better = hn::AndNot(hn::Le(x[i], best), hn::Eq(best, best));  // larger or NaN, and best is not NaN yet
    best = hn::IfThenElse(better, x[i], best);
    choice = hn::IfThenElse(hn::RebindMask(di, better), hn::Set(di, i), choice);
  }
  hn::StoreU(best, d, conv.pooled_output + at);
  if (!conv.choice) return;
  choice = hn::IfThenElse(hn::RebindMask(di, hn::Gt(best, hn::Zero(d))), choice, hn::Set(di, 4));
  const hn::Rebind<uint8_t, D> d8;
  hn::StoreU(hn::DemoteTo(d8, choice), d8, conv.choice + at);
}

/// The gradient of a window at its pixel `here`, 2 * row + column: all of it where that is the chosen one, else none.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V chosen(D d, const uint8_t* choice, int64_t here, V grad) {
  const hn::RebindToSigned<D> di;
  const auto pixels = hn::PromoteTo(di, hn::LoadU(hn::Rebind<uint8_t, D>(), choice));
  return hn::IfThenElseZero(hn::RebindMask(d, hn::Eq(pixels, hn::Set(di, static_cast<int32_t>(here)))), grad);
}

}  // namespace minidl::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
