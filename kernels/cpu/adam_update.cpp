#include <minidl/kernels/cpu/simd.h>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "minidl/kernels/cpu/adam_update.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include <minidl/kernels/cpu/map-inl.h>

#include <cmath>

HWY_BEFORE_NAMESPACE();
namespace minidl::cpu::HWY_NAMESPACE {

void update_one(const AdamSettings& settings, const AdamArrays& one) {
  const double steps = static_cast<double>(one.step);
  const float first_scale = static_cast<float>(1.0 / (1.0 - std::pow(static_cast<double>(settings.beta1), steps)));
  const float second_scale = static_cast<float>(1.0 / (1.0 - std::pow(static_cast<double>(settings.beta2), steps)));
  const auto update = [&](auto d, int64_t i) HWY_ATTR {
    const auto x = hn::LoadU(d, one.parameter + i);
    const auto g = hn::Add(hn::LoadU(d, one.grad + i), hn::Mul(hn::Set(d, settings.weight_decay), x));
    const auto m = hn::Add(hn::Mul(hn::Set(d, settings.beta1), hn::LoadU(d, one.first_moment + i)),
                           hn::Mul(hn::Set(d, 1.0f - settings.beta1), g));
    const auto v = hn::Add(hn::Mul(hn::Set(d, settings.beta2), hn::LoadU(d, one.second_moment + i)),
                           hn::Mul(hn::Set(d, 1.0f - settings.beta2), hn::Mul(g, g)));
    hn::StoreU(m, d, one.first_moment + i);
    hn::StoreU(v, d, one.second_moment + i);
    const auto direction = hn::Div(hn::Mul(m, hn::Set(d, first_scale)),
                                   hn::Add(hn::Sqrt(hn::Mul(v, hn::Set(d, second_scale))), hn::Set(d, settings.eps)));
    hn::StoreU(hn::Sub(x, hn::Mul(hn::Set(d, settings.lr), direction)), d, one.parameter + i);
  };
  parallel_for(0, one.count, kGrain, [&](int64_t begin, int64_t end) HWY_ATTR { for_lanes(begin, end, update); });
}

void adam_update(const AdamSettings& settings, std::span<const AdamArrays> parameters) {
  for (const AdamArrays& one : parameters) update_one(settings, one);
}

void sgd_update(const SgdFactors& factors, int64_t count, const float* grad, float* velocity, float* parameter) {
  const auto update = [&](auto d, int64_t i) HWY_ATTR {
    const auto x = hn::LoadU(d, parameter + i);
    const auto g = hn::Add(hn::LoadU(d, grad + i), hn::Mul(hn::Set(d, factors.weight_decay), x));
    const auto v = hn::Add(hn::Mul(hn::Set(d, factors.momentum), hn::LoadU(d, velocity + i)), g);
    hn::StoreU(v, d, velocity + i);
    hn::StoreU(hn::Sub(x, hn::Mul(hn::Set(d, factors.lr), v)), d, parameter + i);
  };
  parallel_for(0, count, kGrain, [&](int64_t begin, int64_t end) HWY_ATTR { for_lanes(begin, end, update); });
}

}  // namespace minidl::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace minidl::cpu {

HWY_EXPORT(adam_update);
HWY_EXPORT(sgd_update);

void adam_update(const AdamSettings& settings, std::span<const AdamArrays> parameters) {
  MINIDL_DISPATCH(adam_update)(settings, parameters);
}
void sgd_update(const SgdFactors& factors, int64_t count, const float* grad, float* velocity, float* parameter) {
  MINIDL_DISPATCH(sgd_update)(factors, count, grad, velocity, parameter);
}

}  // namespace minidl::cpu
#endif  // HWY_ONCE
