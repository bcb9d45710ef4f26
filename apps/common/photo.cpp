#include <minidl/apps/common/photo.h>
#include <minidl/core/error.h>
#include <minidl/core/image.h>

#include <algorithm>
#include <cmath>
#include <system_error>
#include <utility>

namespace minidl::apps {
namespace {

/// No format needs more than 16 bits of RGBA, uncompressed, for a pixel: a sparse file of a terabyte is not read.
constexpr uintmax_t kMaxFileBytes = uintmax_t{kMaxPhotoPixels} * 8 + (1 << 20);

void check_file_size(const std::filesystem::path& path) {
  std::error_code error;
  const uintmax_t bytes = std::filesystem::file_size(path, error);
  MINIDL_CHECK(error || bytes <= kMaxFileBytes, "[image] '{}' is too large: {} bytes, at most {} are read",
               path.string(), bytes, kMaxFileBytes);
}

/// Colours over white, [1, h, w, 3].
void put_on_white(Tensor& rgb, const Tensor& alpha) {
  const std::span<const float> opacity = alpha.span<float>();
  float* pixel = rgb.data<float>();
  for (const float opaque : opacity) {
    for (int c = 0; c < 3; ++c, ++pixel) *pixel = 255.0f + (*pixel - 255.0f) * (opaque / 255.0f);
  }
}

/// The part [top, top + height) x [left, left + width) of an NHWC picture of one.
Tensor part(const Tensor& image, int64_t top, int64_t left, int64_t height, int64_t width) {
  if (height == image.shape()[1] && width == image.shape()[2]) return image;
  const int64_t row = image.shape()[2] * 3;
  Tensor result = Tensor::empty({1, height, width, 3});
  const float* source = image.data<float>() + top * row + left * 3;
  float* target = result.data<float>();
  for (int64_t y = 0; y < height; ++y) std::copy_n(source + y * row, width * 3, target + y * width * 3);
  return result;
}

uint8_t nearest_level(float value) {
  return static_cast<uint8_t>(std::lround(std::clamp(value, 0.0f, 255.0f)));
}

int64_t below(Rng& rng, int64_t bound) {
  return static_cast<int64_t>(rng.below(static_cast<uint64_t>(bound)));
}

}  // namespace

Photo read_photo(const std::filesystem::path& path, int64_t shorter_side) {
  check_file_size(path);
  Image image = load_image_file(path, {.max_pixels = kMaxPhotoPixels});
  if (image.alpha) put_on_white(image.rgb, image.alpha);
  const int64_t longest = kMaxAspect * std::min(image.rgb.shape()[1], image.rgb.shape()[2]);
  int64_t height = std::min(image.rgb.shape()[1], longest), width = std::min(image.rgb.shape()[2], longest);
  image.rgb = part(image.rgb, (image.rgb.shape()[1] - height) / 2, (image.rgb.shape()[2] - width) / 2, height, width);
  const int64_t shorter = std::min(height, width);
  const auto scaled = [&](int64_t side) { return (2 * side * shorter_side + shorter) / (2 * shorter); };
  image.rgb = resize_image(image.rgb, scaled(height), scaled(width));
  Photo photo{.height = image.rgb.shape()[1], .width = image.rgb.shape()[2], .rgb = {}};
  const std::span<const float> values = std::as_const(image.rgb).span<float>();
  photo.rgb.resize(values.size());
  std::transform(values.begin(), values.end(), photo.rgb.begin(), nearest_level);
  return photo;
}

void cut_sample(const Photo& photo, const CutOptions& options, Rng rng, float* output) {
  const int64_t size = options.size, shorter = std::min(photo.height, photo.width);
  const int64_t side = options.random ? size + below(rng, shorter - size + 1) : shorter;
  const int64_t top = options.random ? below(rng, photo.height - side + 1) : (photo.height - side) / 2;
  const int64_t left = options.random ? below(rng, photo.width - side + 1) : (photo.width - side) / 2;
  const bool mirrored = options.flip && below(rng, 2) == 1;

  Tensor scaled;  // only where the part has to be scaled
  float* target = output;
  if (side != size) {
    scaled = Tensor::empty({1, side, side, 3});
    target = scaled.data<float>();
  }
  for (int64_t y = 0; y < side; ++y) {
    const uint8_t* row = photo.rgb.data() + ((top + y) * photo.width + left) * 3;
    for (int64_t x = 0; x < side; ++x, target += 3) {
      const uint8_t* pixel = row + 3 * (mirrored ? side - 1 - x : x);
      for (int c = 0; c < 3; ++c) target[c] = static_cast<float>(pixel[c]);
    }
  }
  if (side == size) return;
  const Tensor sample = resize_image(scaled, size, size, ResizeFilter::area);
  std::copy_n(sample.data<float>(), sample.count(), output);
}

}  // namespace minidl::apps
