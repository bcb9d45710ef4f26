#include <minidl/apps/loss_form.h>
#include <minidl/kernels/reduce.h>

namespace minidl {
namespace {

// Keeps the relative form finite for a black or flat picture, whose features may be zero.
constexpr double kTiny = 1e-12;
constexpr double kTvLevel = 128.0;

}  // namespace

double content_factor(LossForm form, const Tensor& target, int64_t channels) {
  const Shape& shape = target.shape();
  const auto positions = static_cast<double>(shape[0] * shape[1] * shape[2]);
  if (form == LossForm::mean) return 2.0 / (positions * static_cast<double>(channels));
  if (form == LossForm::relative)
    return 2.0 / (squared_norm(target) + kTiny * positions * static_cast<double>(channels));
  return 1.0 / static_cast<double>(shape[0]);
}

Factor scaled_content_factor(LossForm form, const Tensor& target, int64_t channels, double scale) {
  if (form != LossForm::relative) return static_cast<float>(scale * content_factor(form, target, channels));
  const Shape& shape = target.shape();
  const auto values = static_cast<double>(shape[0] * shape[1] * shape[2] * channels);
  return squared_norm_number(target).inverse(2.0 * scale, kTiny * values);
}

double style_factor(LossForm form, const Tensor& target, int64_t channels) {
  const auto channels_squared = static_cast<double>(channels * channels);
  if (form == LossForm::mean) return 4.0 / channels_squared;
  if (form == LossForm::relative) return 4.0 * channels_squared / (squared_norm(target) + kTiny * channels_squared);
  return 1.0;
}

double style_share(const Tensor& target, int64_t channels) {
  return static_cast<double>(target.count()) / static_cast<double>(channels * channels);
}

double total_variation_factor(LossForm form, const Shape& picture) {
  if (form == LossForm::relative) return 1.0 / (static_cast<double>(picture.count()) * kTvLevel * kTvLevel);
  return 1.0 / static_cast<double>(picture[0]);
}

}  // namespace minidl
