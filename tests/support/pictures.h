#pragma once
#include <cstdint>
#include <string>

namespace minidl::test {

inline std::string bytes_of(uint32_t value, int count, bool big_endian) {
  std::string bytes;
  for (int i = 0; i < count; ++i) bytes += static_cast<char>(value >> 8 * (big_endian ? count - 1 - i : i) & 255);
  return bytes;
}

/// An Exif block (a TIFF header and one directory) that holds nothing but the orientation.
inline std::string exif_with_orientation(int orientation, bool big_endian) {
  const auto number = [&](uint32_t value, int count) { return bytes_of(value, count, big_endian); };
  return (big_endian ? "MM" : "II") + number(42, 2) + number(8, 4) + number(1, 2) + number(0x0112, 2) + number(3, 2) +
         number(1, 4) + number(static_cast<uint32_t>(orientation), 2) + number(0, 2) + number(0, 4);
}

/// The JPEG with an APP1 segment that holds `exif` after its first segment.
inline std::string jpeg_with_exif(std::string jpeg, const std::string& exif) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(jpeg[i]); };
  const size_t after_app0 = 4 + static_cast<size_t>(byte(4) << 8 | byte(5));  // FF D8 FF E0 length
  const std::string data = std::string("Exif\0\0", 6) + exif;
  return jpeg.insert(after_app0, "\xff\xe1" + bytes_of(static_cast<uint32_t>(data.size() + 2), 2, true) + data);
}

/// The PNG with an eXIf chunk after its header; its check sum is not a right one, which no reader of ours looks at.
inline std::string png_with_exif(std::string png, const std::string& exif) {
  constexpr size_t kAfterHeader = 8 + 25;
  return png.insert(kAfterHeader, bytes_of(static_cast<uint32_t>(exif.size()), 4, true) + "eXIf" + exif + "    ");
}

/// One red pixel.
inline std::string gif_of_one_pixel() {
  const std::string header = "GIF89a" + bytes_of(1, 2, false) + bytes_of(1, 2, false) + std::string("\x80\x00\x00", 3);
  const std::string palette("\xff\x00\x00\x00\x00\xff", 6);
  const std::string frame =
      "," + std::string(4, '\0') + bytes_of(1, 2, false) + bytes_of(1, 2, false) + std::string(1, '\0');
  return header + palette + frame + std::string("\x02\x02\x44\x01\x00", 5) + ";";
}

}  // namespace minidl::test
