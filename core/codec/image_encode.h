#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace minidl::detail {

enum class ImageFormat { png, jpeg, bmp, tga };

/// Samples as a file holds them: [height, width, channels], RGB or RGBA; 16-bit samples are big-endian pairs of bytes.
struct EncodableImage {
  int64_t height, width;
  int channels;   // 3 or 4
  int bit_depth;  // 8; 16 only for PNG
  std::vector<uint8_t> samples;
};

/// The bytes of the whole file, the same each time. Throws Error naming `file` where the format cannot hold so large a
/// picture.
std::vector<uint8_t> encode_image(const std::string& file, const EncodableImage& image, ImageFormat format,
                                  int jpeg_quality);

}  // namespace minidl::detail
