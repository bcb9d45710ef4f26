#include <minidl/apps/loss_form.h>
#include <minidl/kernels/reduce.h>

namespace minidl {
namespace {

// Keeps the relative form finite for a black or flat picture, whose features may be zero.
constexpr double kTiny = 1e-12;
constexpr double kTvLevel = 128.0;

}  // namespace

double content_factor(LossForm form, const Tensor& target) {
  const auto values = static_cast<double>(target.count());
  if (form == LossForm::mean) return 2.0 / values;
  if (form == LossForm::relative) return 2.0 / (squared_norm(target) + kTiny * values);
  return 1.0 / static_cast<double>(target.shape()[0]);
}

Factor scaled_content_factor(LossForm form, const Tensor& target, double scale) {
  if (form != LossForm::relative) return static_cast<float>(scale * content_factor(form, target));
  return squared_norm_number(target).inverse(2.0 * scale, kTiny * static_cast<double>(target.count()));
}

double style_factor(LossForm form, const Tensor& target) {
  const auto channels_squared = static_cast<double>(target.count());
  if (form == LossForm::mean) return 4.0 / channels_squared;
  if (form == LossForm::relative) return 4.0 * channels_squared / (squared_norm(target) + kTiny * channels_squared);
  return 1.0;
}

double total_variation_factor(LossForm form, const Shape& picture) {
  if (form == LossForm::relative) return 1.0 / (static_cast<double>(picture.count()) * kTvLevel * kTvLevel);
  return 1.0 / static_cast<double>(picture[0]);
}

}  // namespace minidl
