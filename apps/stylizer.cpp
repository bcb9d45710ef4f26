#include <minidl/apps/builtin_models.h>
#include <minidl/apps/color_transfer.h>
#include <minidl/apps/stylizer.h>
#include <minidl/core/parallel.h>
#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/execution.h>
#include <minidl/kernels/pad.h>

#include <algorithm>
#include <cmath>

namespace minidl {
namespace {

constexpr int64_t kFloat = sizeof(float);
constexpr int64_t kWorkspace = int64_t{8} << 20;  // bytes that convolutions take for each thread, at most
constexpr int64_t kFilterForms = 4;               // Winograd's filters are that many times as large as the weights

void check(const StylizerSettings& settings, int64_t styles) {
  MINIDL_CHECK(settings.size >= 0 && settings.size <= 32768, "[stylizer] size is {}, it must be 0 to 32768",
               settings.size);
  MINIDL_CHECK(settings.strength >= 0.0 && settings.strength <= 1.0, "[stylizer] strength is {}, it must be 0 to 1",
               settings.strength);
  MINIDL_CHECK(settings.max_memory >= 0, "[stylizer] max_memory is {}, it must not be negative", settings.max_memory);
  MINIDL_CHECK(!settings.storage || *settings.storage == Dtype::f32 || *settings.storage == Dtype::f16,
               "[stylizer] storage is {}, it must be f32 or f16", to_string(settings.storage.value_or(Dtype::f32)));
  MINIDL_CHECK(!settings.margin || (*settings.margin >= 0 && *settings.margin <= 1024),
               "[stylizer] margin is {}, it must be 0 to 1024", settings.margin.value_or(0));
  if (settings.styles.empty()) return;
  MINIDL_CHECK(std::ssize(settings.styles) == styles, "[stylizer] {} shares are given, the net has {} styles",
               settings.styles.size(), styles);
  float sum = 0.0f;
  for (const float share : settings.styles) sum += share;
  MINIDL_CHECK(std::abs(sum - 1.0f) <= 1e-4f, "[stylizer] the shares of the styles add up to {}, it must be 1", sum);
}

/// Multiply-adds, times two.
double flops_of(const layers::TransformNetOptions& net, int64_t height, int64_t width) {
  const double w = static_cast<double>(net.width), blocks = static_cast<double>(net.residual_blocks);
  const double full = 2 * 81 * 3 * w + 9 * 2 * w * w;  // 9x9 at both ends, the second upsampling
  const double half = 9 * w * 2 * w + 9 * 4 * w * 2 * w, quarter = 9 * 2 * w * 4 * w + blocks * 2 * 9 * 16 * w * w;
  return 2.0 * static_cast<double>(height * width) * (full + half / 4 + quarter / 16);
}

/// The picture [1, h, w, 3] without `margin` pixels on every side.
Tensor inside(const Tensor& picture, int64_t margin) {
  const int64_t h = picture.shape()[1] - 2 * margin, w = picture.shape()[2] - 2 * margin;
  Tensor result = Tensor::empty({1, h, w, 3});
  const float* from = picture.data<float>() + 3 * margin * (picture.shape()[2] + 1);
  for (int64_t y = 0; y < h; ++y)
    std::copy_n(from + 3 * y * picture.shape()[2], 3 * w, result.data<float>() + 3 * y * w);
  return result;
}

}  // namespace

bool keeps_photo_colors(const SafetensorsReader& reader) {
  const auto colors = reader.metadata().find("colors");
  return colors != reader.metadata().end() && colors->second == "photo";
}

Stylizer Stylizer::builtin(std::string_view name, StylizerSettings settings) {
  const SafetensorsReader reader = builtin_model(BuiltinModel::Kind::style, name).open();
  settings.original_colors |= keeps_photo_colors(reader);
  if (!settings.margin) settings.margin = kBuiltinMargin;
  return Stylizer(layers::TransformNet::load(reader), std::move(settings));
}

Stylizer::Stylizer(layers::TransformNet net, StylizerSettings settings)
    : net_(std::move(net)), settings_(std::move(settings)) {
  check(settings_, net_.options().styles);
  const int64_t filters = kFilterForms * kFloat * net_.parameter_count();
  if (settings_.max_memory == 0) execution::set_filter_cache(std::max(execution::filter_cache(), filters));
  net_.freeze().train(false);
  if (!settings_.styles.empty()) net_.select_style(settings_.styles);
}

StylizerPlan Stylizer::plan(int64_t height, int64_t width) const {
  const Extent size = fit_longer_side(height, width, settings_.size);
  const bool resized = size.height != height || size.width != width;
  const int64_t margin = settings_.margin.value_or(0), picture = 3 * kFloat * size.height * size.width;
  const Extent painted{size.height + 2 * margin, size.width + 2 * margin};
  const int64_t filters = net_.parameter_count() * kFloat;
  // The picture, once more in its new size, the colours that are put back or mixed.
  const int64_t others = 3 * kFloat * height * width + (resized ? picture : 0) + picture + filters +
                         (margin > 0 ? 3 * kFloat * painted.height * painted.width : 0) +
                         std::min(kFilterForms * filters, execution::filter_cache()) + num_threads() * kWorkspace;
  StylizerPlan plan{.size = size,
                    .in_strips = false,
                    .storage = settings_.storage.value_or(Dtype::f32),
                    .memory_bytes = others + net_.bytes_in_one_pass(painted.height, painted.width),
                    .flops = flops_of(net_.options(), painted.height, painted.width)};
  const int64_t limit = settings_.max_memory > 0 ? settings_.max_memory : kOnePassBytes;
  if (!settings_.storage && plan.memory_bytes <= limit) return plan;
  MINIDL_CHECK(net_.device() == Device::cpu() || (!settings_.storage && settings_.max_memory == 0),
               "[stylizer] {} x {} pixels take {} bytes in one pass, and strips are computed on the CPU only; choose a "
               "smaller size or the device cpu",
               size.width, size.height, plan.memory_bytes);
  if (net_.device() != Device::cpu()) return plan;
  plan.in_strips = true;
  const auto bytes = [&](Dtype storage) {
    return others + net_.bytes_in_strips(painted.height, painted.width, {.storage = storage});
  };
  plan.memory_bytes = bytes(plan.storage);
  if (settings_.max_memory == 0 || plan.memory_bytes <= limit) return plan;
  if (!settings_.storage) plan.storage = Dtype::f16;
  plan.memory_bytes = bytes(plan.storage);
  MINIDL_CHECK(plan.memory_bytes <= limit,
               "[stylizer] {} x {} pixels take {} bytes even in strips of {}, the limit is {}; choose a smaller size",
               size.width, size.height, plan.memory_bytes, to_string(plan.storage), limit);
  return plan;
}

Tensor Stylizer::operator()(const Tensor& picture) {
  const Shape& shape = picture.shape();
  MINIDL_CHECK(shape.rank() == 4 && shape[0] == 1 && shape[3] == 3 && shape.count() > 0,
               "[stylizer] the picture must be [1,h,w,3], it is {}", shape);
  const StylizerPlan plan = this->plan(shape[1], shape[2]);
  const bool resized = plan.size.height != shape[1] || plan.size.width != shape[2];
  const Tensor input = resized ? resize_image(picture, plan.size.height, plan.size.width) : picture;
  if (settings_.strength == 0.0) return input;
  const int64_t margin = settings_.margin.value_or(0);
  Tensor continued = input;
  if (margin > 0) {
    continued = Tensor::empty({1, plan.size.height + 2 * margin, plan.size.width + 2 * margin, 3});
    pad_forward(input, Padding::reflect(margin), continued);
  }
  Tensor output = plan.in_strips ? net_.apply_in_strips(continued, {.storage = plan.storage})
                                 : net_(Variable(continued.to(net_.device()))).value().to(Device::cpu());
  if (margin > 0) output = inside(output, margin);
  clamp(output, 0.0f, 255.0f);
  if (settings_.original_colors) output = keep_luminance(output, input);
  if (settings_.strength < 1.0) {
    const auto strength = static_cast<float>(settings_.strength);
    add_scaled(strength, output, 1.0f - strength, input, output);
  }
  return output;
}

}  // namespace minidl
