#pragma once
#include <minidl/core/image.h>
#include <support/pictures.h>
#include <support/random_tensors.h>
#include <support/temporary_folder.h>

#include <filesystem>
#include <string>

namespace minidl::test {

inline Tensor random_picture(int64_t height, int64_t width, uint64_t seed) {
  return random_integers({1, height, width, 3}, seed, 0, 255);
}

inline Tensor flat_picture(int64_t height, int64_t width, int level) {
  return Tensor::full({1, height, width, 3}, static_cast<float>(level));
}

/// A baseline JPEG of 8 x 8 pixels, all samples 128, with 1 component (grey), 3 (YCbCr) or 4 (CMYK as Adobe's programs
/// write it: inverted). Each component is one block whose coefficients are 0: the two bits 00.
inline std::string jpeg_of_one_block(int components) {
  const auto segment = [](uint8_t marker, const std::string& data) {
    return std::string("\xff") + static_cast<char>(marker) + bytes_of(static_cast<uint32_t>(data.size() + 2), 2, true) +
           data;
  };
  const std::string one(1, '\1'), zero(1, '\0');
  const std::string one_code = one + std::string(15, '\0') + zero;  // of 1 bit, for 0: no difference, end of block
  std::string frame = std::string("\x08") + bytes_of(8, 2, true) + bytes_of(8, 2, true) + static_cast<char>(components);
  std::string scan(1, static_cast<char>(components));
  for (int i = 1; i <= components; ++i) {
    frame += std::string(1, static_cast<char>(i)) + "\x11" + zero;
    scan += std::string(1, static_cast<char>(i)) + zero;
  }
  const std::string bits = components == 4 ? zero : std::string(1, static_cast<char>(0xff >> 2 * components));
  return std::string("\xff\xd8") +
         segment(0xee, std::string("Adobe") + bytes_of(100, 2, true) + std::string(4, '\0') +
                           (components == 3 ? one : zero)) +
         segment(0xdb, zero + std::string(64, '\1')) + segment(0xc0, frame) + segment(0xc4, zero + one_code) +
         segment(0xc4, std::string("\x10") + one_code) + segment(0xda, scan + zero + "\x3f" + zero) + bits + "\xff\xd9";
}

/// The bytes of a file that save_image writes.
inline std::string encoded_picture(const Tensor& picture, const std::string& extension) {
  const TemporaryFolder folder;
  save_image(folder / ("a." + extension), picture);
  return read_bytes(folder / ("a." + extension));
}

/// A PNG whose header promises width x height pixels.
inline std::string png_that_promises(uint32_t height, uint32_t width) {
  std::string png = encoded_picture(flat_picture(2, 2, 7), "png");
  return png.replace(16, 8, bytes_of(width, 4, true) + bytes_of(height, 4, true));
}

}  // namespace minidl::test
