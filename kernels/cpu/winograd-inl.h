// Transforms of F(4x4, 3x3) in Highway, for files compiled once per instruction set (foreach_target): the guard lets
// each pass include it once.
#if defined(MINIDL_KERNELS_CPU_WINOGRAD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MINIDL_KERNELS_CPU_WINOGRAD_INL_H_
#undef MINIDL_KERNELS_CPU_WINOGRAD_INL_H_
#else
#define MINIDL_KERNELS_CPU_WINOGRAD_INL_H_
#endif

#include <hwy/highway.h>
#include <minidl/kernels/cpu/winograd.h>

#include <tuple>
#include <utility>

HWY_BEFORE_NAMESPACE();
namespace minidl::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr float kRootHalf = 0.70710678118654752f, kRootTwo = 1.41421356237309505f;

/// x[0..6) = Bᵀ x.
template <class D, class V = hn::Vec<D>>
HWY_INLINE void transform_input(D d, V* HWY_RESTRICT x) {
  const V five_halves = hn::Set(d, 2.5f), two = hn::Set(d, 2.0f), half = hn::Set(d, 0.5f);
  const V a = hn::Set(d, kRootHalf), b = hn::Set(d, kRootTwo);
  const V first = hn::NegMulAdd(five_halves, x[2], hn::Add(x[4], x[0]));
  const V last = hn::NegMulAdd(five_halves, x[3], hn::Add(x[5], x[1]));
  const V even_a = hn::NegMulAdd(two, x[2], x[4]), odd_a = hn::NegMulAdd(two, x[1], x[3]);
  const V even_b = hn::NegMulAdd(half, x[2], x[4]), odd_b = hn::NegMulAdd(half, x[1], x[3]);
  x[0] = first;
  x[1] = hn::MulAdd(a, odd_a, even_a);
  x[2] = hn::NegMulAdd(a, odd_a, even_a);
  x[3] = hn::MulAdd(b, odd_b, even_b);
  x[4] = hn::NegMulAdd(b, odd_b, even_b);
  x[5] = last;
}

/// x[0..6) = G g of g[0..3).
template <class D, class V = hn::Vec<D>>
HWY_INLINE void transform_filter(D d, const V* HWY_RESTRICT g, V* HWY_RESTRICT x) {
  const auto multiples = [&](float scale, float point) HWY_ATTR {
    const V even = hn::MulAdd(hn::Set(d, scale * point * point), g[2], hn::Mul(hn::Set(d, scale), g[0]));
    const V odd = hn::Mul(hn::Set(d, scale * point), g[1]);
    return std::pair<V, V>(hn::Add(even, odd), hn::Sub(even, odd));
  };
  x[0] = g[0];
  std::tie(x[1], x[2]) = multiples(-1.0f / 1.5f, kRootHalf);
  std::tie(x[3], x[4]) = multiples(1.0f / 6.0f, kRootTwo);
  x[5] = g[2];
}

/// x[0..4) = Aᵀ m of m[0..6).
template <class D, class V = hn::Vec<D>>
HWY_INLINE void transform_output(D d, const V* HWY_RESTRICT m, V* HWY_RESTRICT x) {
  const V sum_a = hn::Add(m[1], m[2]), difference_a = hn::Sub(m[1], m[2]);
  const V sum_b = hn::Add(m[3], m[4]), difference_b = hn::Sub(m[3], m[4]);
  x[0] = hn::Add(hn::Add(m[0], sum_a), sum_b);
  x[1] = hn::MulAdd(hn::Set(d, kRootHalf), difference_a, hn::Mul(hn::Set(d, kRootTwo), difference_b));
  x[2] = hn::MulAdd(hn::Set(d, 0.5f), sum_a, hn::Mul(hn::Set(d, 2.0f), sum_b));
  x[3] = hn::MulAdd(hn::Set(d, kRootHalf / 2), difference_a, hn::MulAdd(hn::Set(d, kRootTwo * 2), difference_b, m[5]));
}

}  // namespace minidl::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
