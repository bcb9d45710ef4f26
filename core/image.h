#pragma once
#include <minidl/core/tensor.h>

#include <cstdint>
#include <filesystem>

namespace minidl {

/// A picture as files hold it. `rgb` [1, h, w, 3] f32 in [0, 255] (16-bit samples divided by 257); `alpha` [1, h, w, 1]
/// in [0, 255], or undefined when the file has none.
struct Image {
  Tensor rgb;
  Tensor alpha;
  int bit_depth = 8;  // 8 or 16, of the file's samples
};

struct LoadOptions {
  int64_t max_side = 0;                   // > 0: shrink so that the longer side is at most this (area averaging)
  int64_t max_pixels = int64_t{1} << 28;  // larger pictures are refused before they are decoded; never more than 2^28
};

/// Reads PNG (8, 16 bit), JPEG, BMP, TGA, PSD, GIF (first frame), PNM. Grey becomes RGB; the EXIF orientation of JPEG
/// and PNG is applied. Throws Error naming the file: missing, directory, empty, not a picture, truncated, damaged, too
/// large.
Image load_image_file(const std::filesystem::path& path, const LoadOptions& options = {});
/// Only the colours of load_image_file: [1, h, w, 3] in [0, 255].
Tensor load_image(const std::filesystem::path& path, const LoadOptions& options = {});

struct SaveOptions {
  int bit_depth = 8;      // 16: PNG only
  int jpeg_quality = 95;  // 1 to 100
};

/// Writes PNG, JPEG, BMP or TGA by the extension, atomically. Values are rounded to the nearest level and clamped to
/// [0, 255]; NaN becomes 0. Alpha is written to PNG and TGA, and left out of the others. Throws Error naming the file
/// for an unknown extension or a failed write.
void save_image_file(const std::filesystem::path& path, const Image& image, const SaveOptions& options = {});
/// [1, h, w, 3] or [h, w, 3] in [0, 255].
void save_image(const std::filesystem::path& path, const Tensor& rgb, const SaveOptions& options = {});
/// Whether pictures are written under this extension: .png, .jpg, .jpeg, .bmp, .tga in any case.
bool is_image_output(const std::filesystem::path& path);
/// 16 when `bit_depth` is that and a file with this extension can hold it (PNG), otherwise 8. Throws Error for an
/// unknown extension.
int bit_depth_for(const std::filesystem::path& path, int bit_depth);
/// Throws the Error that saving to `path` would give (extension, folder missing or not writable), without writing:
/// checked before hours of work.
void check_image_output(const std::filesystem::path& path, int bit_depth = 8);

enum class ResizeFilter { area, catmull_rom };

/// Resizes [1, h, w, c] f32 to [1, height, width, c] in new memory; the same size gives equal values. Pixel centres at
/// half integers, borders replicated. `area` averages the covered source area (for shrinking), `catmull_rom` is the
/// cubic with a = -0.5 (for enlarging; may overshoot). `linear_light` averages decoded sRGB. Throws Error for another
/// shape or type, an empty image, and sizes outside 1 to 2^30.
Tensor resize_image(const Tensor& image, int64_t height, int64_t width, ResizeFilter filter, bool linear_light = false);
/// area where an axis shrinks, Catmull-Rom where it grows.
Tensor resize_image(const Tensor& image, int64_t height, int64_t width);

/// Height and width with the longer side `size` and the aspect of height x width, rounded to the nearest and at least
/// 1; size 0 leaves them. All at most 2^30.
struct Extent {
  int64_t height, width;
};
Extent fit_longer_side(int64_t height, int64_t width, int64_t size);

}  // namespace minidl
