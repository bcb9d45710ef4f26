#include <minidl/apps/loss_scale.h>
#include <minidl/apps/saved_run.h>
#include <minidl/core/image.h>
#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/execution.h>

#include <algorithm>
#include <cmath>

namespace minidl {
namespace {

constexpr const char* kName = "loss_scale";
// Longer side of the pictures by which a network is normalised: the largest values hardly depend on it.
constexpr int64_t kMeasuredSide = 256;
// The largest |gradient| of a picture becomes at least half of two to the power of this. Gradients of VGG-19's
// normalised features are up to 2^3 times as large, and may grow by 2^7 more before fp16 cuts them off; those with no
// more than 2^-20 of the picture's still have all bits.
constexpr int kLargestGradient = 6;
// Of the scale: its products with weights of losses stay in fp32.
constexpr int kMostExponent = 100;

/// Shrunk to that, and no side below `least`, what the deepest tap needs.
Tensor resized(const Tensor& picture, int64_t least) {
  const int64_t h = picture.shape()[1], w = picture.shape()[2];
  const Extent fitted = fit_longer_side(h, w, std::min(std::max(h, w), kMeasuredSide));
  return resize_image(picture, std::max(fitted.height, least), std::max(fitted.width, least));
}

}  // namespace

void normalize_for_fp16(layers::Vgg& network, const std::vector<Tensor>& pictures,
                        const std::vector<std::string>& taps) {
  if (execution::precision() != Precision::fp16 || taps.empty()) return;
  int64_t least = 1;
  for (const std::string& tap : taps) least = std::max(least, network.smallest_side(tap));
  std::vector<Tensor> measured;
  for (const Tensor& picture : pictures) measured.push_back(resized(picture, least));
  network.normalize(measured, taps);
}

bool LossScale::is_missing() const {
  return execution::precision() == Precision::fp16 && chosen_ == 0;
}

void LossScale::choose(float largest) {
  const bool is_number = largest > 0 && std::isfinite(largest);
  const int exponent = is_number ? kLargestGradient - 1 - std::ilogb(largest) : 0;
  chosen_ = is_number ? std::exp2(std::clamp(exponent, -kMostExponent, kMostExponent)) : 0;
}

float LossScale::get() const {
  return execution::precision() == Precision::fp16 && chosen_ > 0 ? static_cast<float>(chosen_) : 1.0f;
}

void LossScale::take_out(Tensor& gradient) const {
  const float scale = get();
  if (scale != 1.0f) affine(1.0f / scale, gradient, 0.0f, gradient);
}

void LossScale::save(SafetensorsContent& state) const {
  if (chosen_ > 0) state.tensors.emplace_back(kName, tensor_of({chosen_}));
}

void LossScale::load(const SafetensorsReader& state) {
  chosen_ = 0;
  if (!state.contains(kName)) return;
  const std::vector<double> numbers = numbers_of(state, kName);
  const auto is_scale = [](double x) {
    return x > 0 && std::isfinite(x) && x == std::exp2(std::ilogb(x)) && std::abs(std::ilogb(x)) <= kMostExponent;
  };
  MINIDL_CHECK(numbers.size() == 1 && is_scale(numbers[0]),
               "[resume] '{}' is damaged: its loss scale is no power of two from 2^{} to 2^{}", state.path().string(),
               -kMostExponent, kMostExponent);
  chosen_ = numbers[0];
}

}  // namespace minidl
