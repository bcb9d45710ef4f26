#pragma once
#include <cstdint>
#include <span>

namespace minidl::detail {

/// How the picture in a JPEG or PNG file has to be turned, 1 to 8 as in the Exif standard (tag 0x0112); 1, as stored,
/// where the file does not say or says nonsense.
int exif_orientation(std::span<const uint8_t> file);

}  // namespace minidl::detail
