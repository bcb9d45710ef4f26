#include <minidl/apps/loss_form.h>
#include <minidl/kernels/reduce.h>

#include <cmath>

namespace minidl {
namespace {

// Keeps the relative form finite for a black or flat picture, whose features may be zero.
constexpr double kTiny = 1e-12;
constexpr double kTvLevel = 128.0;

}  // namespace

double content_share(const FeatureUnits& units) {
  return 1.0 / std::pow(units.scale, 2);
}

double style_share(const Tensor& target, const FeatureUnits& units) {
  const auto channels_squared = static_cast<double>(units.channels * units.channels);
  return static_cast<double>(target.count()) / channels_squared / std::pow(units.scale, 4);
}

double content_factor(LossForm form, const Tensor& target, const FeatureUnits& units) {
  const Shape& shape = target.shape();
  const auto positions = static_cast<double>(shape[0] * shape[1] * shape[2]);
  const auto channels = static_cast<double>(units.channels);
  if (form == LossForm::mean) return 2.0 / (positions * channels);
  if (form == LossForm::relative)
    return 2.0 / (squared_norm(target) * content_share(units) + kTiny * positions * channels);
  return 1.0 / static_cast<double>(shape[0]);
}

Factor scaled_content_factor(LossForm form, const Tensor& target, const FeatureUnits& units, double factor) {
  const double share = factor * content_share(units);
  if (form != LossForm::relative) return static_cast<float>(share * content_factor(form, target, units));
  const Shape& shape = target.shape();
  const auto values = static_cast<double>(shape[0] * shape[1] * shape[2] * units.channels);
  // share / (||P||^2 / scale^2 + tiny), of which only ||P||^2 is on the device
  return squared_norm_number(target).inverse(2.0 * factor, kTiny * values / content_share(units));
}

double style_factor(LossForm form, const Tensor& target, const FeatureUnits& units) {
  const auto channels_squared = static_cast<double>(units.channels * units.channels);
  if (form == LossForm::mean) return 4.0 / channels_squared;
  if (form == LossForm::relative) {
    const double squares = squared_norm(target) / std::pow(units.scale, 4);
    return 4.0 * channels_squared / (squares + kTiny * channels_squared);
  }
  return 1.0;
}

double total_variation_factor(LossForm form, const Shape& picture) {
  if (form == LossForm::relative) return 1.0 / (static_cast<double>(picture.count()) * kTvLevel * kTvLevel);
  return 1.0 / static_cast<double>(picture[0]);
}

}  // namespace minidl
