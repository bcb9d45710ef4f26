#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace minidl::detail {

/// Samples of a picture as its file holds them: [height, width, channels] of uint8_t or uint16_t; grey, grey alpha, RGB
/// or RGBA.
struct DecodedImage {
  int64_t height, width;
  int channels;   // 1 to 4
  int bit_depth;  // 8 or 16
  std::unique_ptr<void, void (*)(void*)> samples;
};

/// Decodes a whole file in memory. Throws Error naming `file`: empty, not a picture, more than `max_pixels`, truncated,
/// damaged.
DecodedImage decode_image(const std::string& file, std::span<const uint8_t> bytes, int64_t max_pixels);

}  // namespace minidl::detail
