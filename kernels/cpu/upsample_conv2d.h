#pragma once
#include <minidl/kernels/cpu/kernels.h>
#include <minidl/kernels/upsample_conv2d.h>

/// With the three taps w0, w1, w2 of one axis, S = w0 + w1 + w2, and pixels x[i] continued by one on each side, the two
/// outputs of pixel i are
///   y[2 i]     = w0 x[i-1] + (w1 + w2) x[i] = S x[i] + w0 (x[i-1] - x[i])
///   y[2 i + 1] = (w0 + w1) x[i] + w2 x[i+1] = S x[i] - w2 (x[i] - x[i+1]):
/// three products with the filters S, w0 and -w2, here called 0, 1 and 2, instead of six taps. Along both axes these
/// are nine filters F[a, b]. Where the continuation repeats the border pixel, its difference is zero.
namespace minidl::cpu {

constexpr int64_t kUpsampleFilters = 9;  // a * 3 + b

/// Two places of a map along one axis, added or subtracted: those that belong to pixel i of the input. A place outside
/// [low, high) is the next one inside, or counts as zero.
struct PixelPairs {
  int64_t scale, first, second;  // scale * i + first, scale * i + second
  bool has_second, subtracted;
  int64_t low, high;
  bool repeated;

  /// -1 is zero.
  int64_t place(int64_t i, int64_t offset) const {
    const int64_t at = scale * i + offset;
    if (at >= low && at < high) return at;
    return !repeated ? -1 : at < low ? low : high - 1;
  }
  int64_t first_of(int64_t i) const { return place(i, first); }
  int64_t second_of(int64_t i) const { return has_second ? place(i, second) : -1; }
};

/// A picture [height, width, channels], and which pixels of it become one.
struct PixelSums {
  const float* picture;
  int64_t width, channels;
  PixelPairs rows, columns;
};
/// For input pixels (i, j) to (i, j + pixels - 1) of one row, channels [from, from + count):
///   output[p * stride + c] = (x[r0, c0] +- x[r0, c1]) +- (x[r1, c0] +- x[r1, c1])
struct PixelRun {
  int64_t i, j, pixels;
  int64_t from, count;
};
void combine_pixels(const PixelSums& sums, const PixelRun& run, float* output, int64_t stride);

/// A part of the input that is multiplied at a time: pixels [row, row + rows) x [column, column + columns) of one
/// picture.
struct UpsampleRegion {
  int64_t row, rows, column, columns;
  int64_t stride() const { return columns + 1; }  // pixels from one row of differences to the next
  int64_t differences() const { return (rows + 1) * stride(); }
};
/// Differences along h, along w and along both, each [rows + 1, columns + 1, in_c]: of pixel (i, j) and those above, to
/// the left, and both, where pixel (0, 0) is that of the region. picture [in_h, in_w, in_c].
void upsample_differences(const UpsampleConv2dDesc& desc, const float* picture, const UpsampleRegion& region,
                          float* differences);
/// Four outputs of each pixel of the region from its nine sums: sums[filter * plane + pixel * stride + k]. output is
/// that of the picture, [2 in_h, 2 in_w, out_c]; bias may be nullptr.
struct UpsampleSums {
  const float* sums;
  int64_t plane, stride;
};
void upsample_output(const UpsampleConv2dDesc& desc, const UpsampleRegion& region, const UpsampleSums& sums,
                     const float* bias, float* output);

}  // namespace minidl::cpu
