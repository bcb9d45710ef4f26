#include <minidl/core/codec/exif.h>
#include <minidl/core/codec/image_decode.h>
#include <minidl/core/codec/image_encode.h>
#include <minidl/core/file.h>
#include <minidl/core/image.h>
#include <minidl/core/parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

namespace minidl {
namespace {

using detail::DecodedImage;
using detail::EncodableImage;
using detail::ImageFormat;

constexpr int64_t kRowsPerChunk = 16;
constexpr float kLevelsPerUnit16 = 257.0f;  // 65535 / 255

/// Calls body(y) for every row in [0, height), in parallel.
template <typename Body>
void for_each_row(int64_t height, const Body& body) {
  parallel_for(0, height, kRowsPerChunk, [&](int64_t first, int64_t last) {
    for (int64_t y = first; y < last; ++y) body(y);
  });
}

/// Where the pixel (y, x) of the turned picture lies among the pixels of the file: first + y * step_y + x * step_x.
struct Turn {
  int64_t height, width;  // of the turned picture
  int64_t first, step_y, step_x;
};

/// Exif orientations: 5 to 8 exchange rows and columns; the file's rows run backwards in 3, 4, 6, 7 and its columns in
/// 2, 3, 7, 8.
Turn turn_for(int orientation, int64_t height, int64_t width) {
  const auto is_one_of = [orientation](std::initializer_list<int> values) {
    return std::find(values.begin(), values.end(), orientation) != values.end();
  };
  const bool rows_back = is_one_of({3, 4, 6, 7}), columns_back = is_one_of({2, 3, 7, 8});
  const int64_t first = (rows_back ? (height - 1) * width : 0) + (columns_back ? width - 1 : 0);
  const int64_t row = rows_back ? -width : width, column = columns_back ? -1 : 1;
  if (orientation >= 5) return {width, height, first, column, row};
  return {height, width, first, row, column};
}

/// File samples to [0, 255], grey to RGB, turned.
template <typename Sample>
Image to_tensors(const DecodedImage& decoded, const Turn& turn) {
  const bool has_alpha = decoded.channels % 2 == 0, grey = decoded.channels < 3;
  const float levels_per_unit = sizeof(Sample) == 2 ? kLevelsPerUnit16 : 1.0f;
  const auto* samples = static_cast<const Sample*>(decoded.samples.get());
  Image image{.rgb = Tensor::empty({1, turn.height, turn.width, 3}), .alpha = {}, .bit_depth = decoded.bit_depth};
  if (has_alpha) image.alpha = Tensor::empty({1, turn.height, turn.width, 1});
  float* rgb = image.rgb.data<float>();
  float* alpha = has_alpha ? image.alpha.data<float>() : nullptr;
  for_each_row(turn.height, [&](int64_t y) {
    for (int64_t x = 0; x < turn.width; ++x) {
      const Sample* source = samples + (turn.first + y * turn.step_y + x * turn.step_x) * decoded.channels;
      const int64_t pixel = y * turn.width + x;
      for (int c = 0; c < 3; ++c) rgb[pixel * 3 + c] = static_cast<float>(source[grey ? 0 : c]) / levels_per_unit;
      if (alpha) alpha[pixel] = static_cast<float>(source[decoded.channels - 1]) / levels_per_unit;
    }
  });
  return image;
}

void shrink(Image& image, int64_t max_side) {
  const int64_t height = image.rgb.shape()[1], width = image.rgb.shape()[2];
  if (std::max(height, width) <= max_side) return;
  const Extent extent = fit_longer_side(height, width, max_side);
  image.rgb = resize_image(image.rgb, extent.height, extent.width, ResizeFilter::area);
  if (image.alpha) image.alpha = resize_image(image.alpha, extent.height, extent.width, ResizeFilter::area);
}

/// Nearest of the levels 0 to `highest` for a value in [0, 255]; values beyond are clamped, NaN becomes 0.
uint32_t level_of(float value, uint32_t highest) {
  if (!(value > 0.0f)) return 0;
  if (value >= 255.0f) return highest;
  return static_cast<uint32_t>(std::lround(static_cast<double>(value) * highest / 255.0));
}

EncodableImage to_samples(const Tensor& rgb, const Tensor& alpha, int bit_depth) {
  const int64_t height = rgb.shape()[1], width = rgb.shape()[2];
  EncodableImage encodable{
      .height = height, .width = width, .channels = alpha ? 4 : 3, .bit_depth = bit_depth, .samples = {}};
  const int channels = encodable.channels;
  encodable.samples.resize(static_cast<size_t>(height * width * channels * (bit_depth / 8)));
  const float* colours = rgb.data<float>();
  const float* opacity = alpha ? alpha.data<float>() : nullptr;
  uint8_t* samples = encodable.samples.data();
  for_each_row(height, [&](int64_t y) {
    for (int64_t pixel = y * width; pixel < (y + 1) * width; ++pixel) {
      for (int c = 0; c < channels; ++c) {
        const float value = c < 3 ? colours[pixel * 3 + c] : opacity[pixel];
        const int64_t index = pixel * channels + c;
        if (bit_depth == 8) {
          samples[index] = static_cast<uint8_t>(level_of(value, 255));
        } else {
          const uint32_t level = level_of(value, 65535);
          samples[2 * index] = static_cast<uint8_t>(level >> 8);
          samples[2 * index + 1] = static_cast<uint8_t>(level & 255);
        }
      }
    }
  });
  return encodable;
}

/// Of an extension in lower case.
std::optional<ImageFormat> format_written_as(const std::string& extension) {
  constexpr std::pair<const char*, ImageFormat> kExtensions[] = {{".png", ImageFormat::png},
                                                                 {".jpg", ImageFormat::jpeg},
                                                                 {".jpeg", ImageFormat::jpeg},
                                                                 {".bmp", ImageFormat::bmp},
                                                                 {".tga", ImageFormat::tga}};
  for (const auto& [known, format] : kExtensions) {
    if (extension == known) return format;
  }
  return std::nullopt;
}

ImageFormat format_of(const std::filesystem::path& path, int bit_depth) {
  const std::string extension = lower_extension(path);
  const std::optional<ImageFormat> format = format_written_as(extension);
  MINIDL_CHECK(format, "[image] cannot write '{}': the extension '{}' is none of .png, .jpg, .jpeg, .bmp, .tga",
               path.string(), extension);
  MINIDL_CHECK(bit_depth == 8 || bit_depth == 16,
               "[image] cannot write '{}' with {} bits per sample: 8 and 16 are possible", path.string(), bit_depth);
  MINIDL_CHECK(bit_depth == 8 || *format == ImageFormat::png,
               "[image] cannot write '{}' with 16 bits per sample: only PNG holds them", path.string());
  return *format;
}

}  // namespace

Image load_image_file(const std::filesystem::path& path, const LoadOptions& options) {
  MINIDL_CHECK(options.max_side >= 0, "[image] max_side is {}, it must not be negative", options.max_side);
  const std::vector<uint8_t> bytes = read_file(path);
  const DecodedImage decoded = detail::decode_image(path.string(), bytes, options.max_pixels);
  const Turn turn = turn_for(detail::exif_orientation(bytes), decoded.height, decoded.width);
  Image image = decoded.bit_depth == 16 ? to_tensors<uint16_t>(decoded, turn) : to_tensors<uint8_t>(decoded, turn);
  if (options.max_side > 0) shrink(image, options.max_side);
  return image;
}

Tensor load_image(const std::filesystem::path& path, const LoadOptions& options) {
  return load_image_file(path, options).rgb;
}

void save_image_file(const std::filesystem::path& path, const Image& image, const SaveOptions& options) {
  const ImageFormat format = format_of(path, options.bit_depth);
  MINIDL_CHECK(options.jpeg_quality >= 1 && options.jpeg_quality <= 100,
               "[image] jpeg_quality is {}, it must be in 1 to 100", options.jpeg_quality);
  const Shape& shape = image.rgb.shape();
  MINIDL_CHECK(
      image.rgb && shape.rank() == 4 && shape[0] == 1 && shape[3] == 3 && shape.count() > 0,
      "[image] cannot write '{}': the colours have shape {}, expected [1, height, width, 3] with at least one pixel",
      path.string(), shape);
  MINIDL_CHECK(!image.alpha || image.alpha.shape() == Shape({1, shape[1], shape[2], 1}),
               "[image] cannot write '{}': the alpha has shape {}, the colours {}", path.string(), image.alpha.shape(),
               shape);
  const bool keeps_alpha = format == ImageFormat::png || format == ImageFormat::tga;
  const Tensor alpha = keeps_alpha ? image.alpha.to(Device::cpu()) : Tensor();
  const EncodableImage encodable = to_samples(image.rgb.to(Device::cpu()), alpha, options.bit_depth);
  const std::vector<uint8_t> bytes = detail::encode_image(path.string(), encodable, format, options.jpeg_quality);
  write_file_atomically(path, bytes.data(), bytes.size());
}

void save_image(const std::filesystem::path& path, const Tensor& rgb, const SaveOptions& options) {
  const Shape& shape = rgb.shape();
  const Tensor batch = shape.rank() == 3 ? rgb.reshape({1, shape[0], shape[1], shape[2]}) : rgb;
  save_image_file(path, {.rgb = batch, .alpha = {}}, options);
}

bool is_image_output(const std::filesystem::path& path) {
  return format_written_as(lower_extension(path)).has_value();
}

int bit_depth_for(const std::filesystem::path& path, int bit_depth) {
  return bit_depth == 16 && format_of(path, 8) == ImageFormat::png ? 16 : 8;
}

void check_image_output(const std::filesystem::path& path, int bit_depth) {
  format_of(path, bit_depth);
  check_can_write(path);
}

}  // namespace minidl
