#include <minidl/kernels/cpu/simd.h>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "minidl/kernels/cpu/elementwise.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include <minidl/kernels/cpu/map-inl.h>

#include <hwy/contrib/math/math-inl.h>

#include <vector>

HWY_BEFORE_NAMESPACE();
namespace minidl::cpu::HWY_NAMESPACE {

void add_scaled(int64_t count, float a, const float* x, float b, const float* y, float* output) {
  const auto f = [=](auto d, auto vx, auto vy)
                     HWY_ATTR { return hn::Add(hn::Mul(hn::Set(d, a), vx), hn::Mul(hn::Set(d, b), vy)); };
  map(count, output, f, x, y);
}

/// output += a[0] * x[0] + ... for elements [i, i + lanes of d), one term after the other in f64.
template <size_t kTerms, class D, typename T>
HWY_INLINE void add_terms(D d, int64_t i, const double* a, const T* const* x, double* sums) {
  auto sum = hn::LoadU(d, sums + i);
  for (size_t k = 0; k < kTerms; ++k) {
    sum = hn::Add(sum, hn::Mul(hn::Set(d, a[k]), load_promoted(d, x[k] + i)));
  }
  hn::StoreU(sum, d, sums + i);
}

template <size_t kTerms, typename T>
void add_terms(int64_t count, const double* a, const T* const* x, double* sums) {
  const hn::ScalableTag<double> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) add_terms<kTerms>(d, i, a, x, sums);
  for (; i < count; ++i) add_terms<kTerms>(hn::CappedTag<double, 1>(), i, a, x, sums);
}

template <typename T>
void combination_of(int64_t count, float a, const float* x, const double* b, std::span<const T* const> y,
                    float* output) {
  constexpr size_t kTerms = 8;  // read side by side
  parallel_for(0, count, kGrain, [&](int64_t begin, int64_t end) HWY_ATTR {
    const int64_t size = end - begin;
    std::vector<double> sums(static_cast<size_t>(size));
    for (int64_t i = 0; i < size; ++i)
      sums[static_cast<size_t>(i)] = static_cast<double>(a) * static_cast<double>(x[begin + i]);
    std::vector<const T*> terms;
    for (const T* term : y) terms.push_back(term + begin);
    size_t k = 0;
    for (; k + kTerms <= terms.size(); k += kTerms) add_terms<kTerms>(size, &b[k], &terms[k], sums.data());
    for (; k < terms.size(); ++k) add_terms<1>(size, &b[k], &terms[k], sums.data());
    for (int64_t i = 0; i < size; ++i) output[begin + i] = static_cast<float>(sums[static_cast<size_t>(i)]);
  });
}

void combination(int64_t count, float a, const float* x, const double* b, std::span<const float* const> y,
                 float* output) {
  combination_of(count, a, x, b, y, output);
}

void combination_bf16(int64_t count, float a, const float* x, const double* b, std::span<const uint16_t* const> y,
                      float* output) {
  combination_of(count, a, x, b, y, output);
}

void multiply(int64_t count, const float* x, const float* y, float* output) {
  map(
      count, output, [](auto, auto vx, auto vy) HWY_ATTR { return hn::Mul(vx, vy); }, x, y);
}

void affine(int64_t count, float a, const float* x, float b, float* output) {
  map(
      count, output, [=](auto d, auto vx) HWY_ATTR { return hn::Add(hn::Mul(hn::Set(d, a), vx), hn::Set(d, b)); }, x);
}

void relu_forward(int64_t count, const float* input, float* output) {
  // Not Max: which operand that returns for NaN differs between machines.
  map(
      count, output, [](auto d, auto x) HWY_ATTR { return hn::IfThenZeroElse(hn::Le(x, hn::Zero(d)), x); }, input);
}

void positive_mask(int64_t count, const float* x, uint8_t* bits) {
  static_assert(kGrain % 8 == 0, "a byte of the mask belongs to one chunk");
  parallel_for(0, count, kGrain, [&](int64_t begin, int64_t end) HWY_ATTR {
    for_lanes(begin, end,
              [&](auto d, int64_t i) HWY_ATTR { store_mask(d, hn::Gt(hn::LoadU(d, x + i), hn::Zero(d)), i, bits); });
  });
}

void tanh_forward(int64_t count, const float* input, float scale, float* output) {
  map(
      count, output, [=](auto d, auto x) HWY_ATTR { return hn::Mul(hn::Set(d, scale), hn::Tanh(d, x)); }, input);
}

void tanh_backward(int64_t count, const float* output, float scale, const float* grad_output,
                   const GradTarget& target) {
  const float inverse = 1.0f / scale;
  const auto f = [=](auto d, auto y, auto g) HWY_ATTR {
    return hn::Mul(g, hn::Sub(hn::Set(d, scale), hn::Mul(hn::Mul(y, y), hn::Set(d, inverse))));
  };
  accumulate(count, target, f, output, grad_output);
}

void accumulate_scaled(int64_t count, float a, const float* x, const GradTarget& target) {
  accumulate(
      count, target, [=](auto d, auto vx) HWY_ATTR { return hn::Mul(hn::Set(d, a), vx); }, x);
}

void accumulate_difference(int64_t count, const RawFactor& a, const float* x, const float* y,
                           const GradTarget& target) {
  const float factor = a.on_device ? a.value * static_cast<float>(*a.on_device) : a.value;
  const auto f = [=](auto d, auto vx, auto vy) HWY_ATTR { return hn::Mul(hn::Set(d, factor), hn::Sub(vx, vy)); };
  accumulate(count, target, f, x, y);
}

void accumulate_product(int64_t count, const float* x, const float* y, const GradTarget& target) {
  accumulate(
      count, target, [](auto, auto vx, auto vy) HWY_ATTR { return hn::Mul(vx, vy); }, x, y);
}

void clamp(int64_t count, float* x, float low, float high) {
  const auto f = [=](auto d, auto v) HWY_ATTR {
    const auto lowest = hn::Set(d, low), highest = hn::Set(d, high);
    const auto raised = hn::IfThenElse(hn::Lt(v, lowest), lowest, v);
    return hn::IfThenElse(hn::Gt(raised, highest), highest, raised);
  };
  map(count, x, f, x);
}

}  // namespace minidl::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace minidl::cpu {

HWY_EXPORT(add_scaled);
HWY_EXPORT(combination);
HWY_EXPORT(combination_bf16);
HWY_EXPORT(multiply);
HWY_EXPORT(affine);
HWY_EXPORT(relu_forward);
HWY_EXPORT(positive_mask);
HWY_EXPORT(tanh_forward);
HWY_EXPORT(tanh_backward);
HWY_EXPORT(accumulate_scaled);
HWY_EXPORT(accumulate_difference);
HWY_EXPORT(accumulate_product);
HWY_EXPORT(clamp);

void add_scaled(int64_t count, float a, const float* x, float b, const float* y, float* output) {
  MINIDL_DISPATCH(add_scaled)(count, a, x, b, y, output);
}
void combination(int64_t count, float a, const float* x, const double* b, std::span<const float* const> y,
                 float* output) {
  MINIDL_DISPATCH(combination)(count, a, x, b, y, output);
}
void combination_bf16(int64_t count, float a, const float* x, const double* b, std::span<const uint16_t* const> y,
                      float* output) {
  MINIDL_DISPATCH(combination_bf16)(count, a, x, b, y, output);
}
void multiply(int64_t count, const float* x, const float* y, float* output) {
  MINIDL_DISPATCH(multiply)(count, x, y, output);
}
void affine(int64_t count, float a, const float* x, float b, float* output) {
  MINIDL_DISPATCH(affine)(count, a, x, b, output);
}
void relu_forward(int64_t count, const float* input, float* output) {
  MINIDL_DISPATCH(relu_forward)(count, input, output);
}
void positive_mask(int64_t count, const float* x, uint8_t* bits) {
  MINIDL_DISPATCH(positive_mask)(count, x, bits);
}
void tanh_forward(int64_t count, const float* input, float scale, float* output) {
  MINIDL_DISPATCH(tanh_forward)(count, input, scale, output);
}
void tanh_backward(int64_t count, const float* output, float scale, const float* grad_output,
                   const GradTarget& target) {
  MINIDL_DISPATCH(tanh_backward)(count, output, scale, grad_output, target);
}
void accumulate_scaled(int64_t count, float a, const float* x, const GradTarget& target) {
  MINIDL_DISPATCH(accumulate_scaled)(count, a, x, target);
}
void accumulate_difference(int64_t count, const RawFactor& a, const float* x, const float* y,
                           const GradTarget& target) {
  MINIDL_DISPATCH(accumulate_difference)(count, a, x, y, target);
}
void accumulate_product(int64_t count, const float* x, const float* y, const GradTarget& target) {
  MINIDL_DISPATCH(accumulate_product)(count, x, y, target);
}
void clamp(int64_t count, float* x, float low, float high) {
  MINIDL_DISPATCH(clamp)(count, x, low, high);
}

}  // namespace minidl::cpu
#endif  // HWY_ONCE
