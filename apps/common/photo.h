#pragma once
#include <minidl/core/rng.h>

#include <cstdint>
#include <filesystem>
#include <vector>

namespace minidl::apps {

/// A photo ready for samples to be cut from it: 8-bit RGB [height, width, 3], scaled to a given shorter side.
struct Photo {
  int64_t height = 0, width = 0;
  std::vector<uint8_t> rgb;
};

/// No photo is kept longer than this many times its shorter side: the ends of a longer one are left out, which bounds
/// what one file can take (a picture of 1 x 100,000 pixels would be enlarged to billions).
constexpr int64_t kMaxAspect = 8;

/// Larger photos are refused before memory is taken for them: reading one takes up to about 30 bytes a pixel.
constexpr int64_t kMaxPhotoPixels = int64_t{1} << 26;

/// Reads and scales a photo so that its shorter side is `shorter_side` (area averaging, or Catmull-Rom to enlarge),
/// turned as its EXIF data says. Grey and CMYK become RGB, transparency becomes white, 16 bits become 8. Throws Error
/// naming the file where it is not readable or has more than kMaxPhotoPixels.
Photo read_photo(const std::filesystem::path& path, int64_t shorter_side);

/// Writes a square part of `photo` to `output` [size, size, 3], in [0, 255]. Random: a part of side `size` to the
/// photo's shorter side anywhere in it, scaled down to `size`. Otherwise the centre, as large as possible.
struct CutOptions {
  int64_t size;
  bool random, flip;  // flip: mirrored left to right in half of the cases
};
void cut_sample(const Photo& photo, const CutOptions& options, Rng rng, float* output);

}  // namespace minidl::apps
