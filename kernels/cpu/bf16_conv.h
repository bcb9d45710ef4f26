#pragma once
#include <minidl/core/bit_mask.h>
#include <minidl/kernels/padding.h>

#include <cstdint>

namespace minidl::cpu {

/// A convolution of any kernel and stride, as sums of a WindowProduct:
///   output = act(beta * output + (relu_mask ? r : 0) + bias) of
///   r[n,h,w,k] = sum over r,s,c of picture'[n, h*stride_h + r - top, w*stride_w + s - left, c] * filter[k,r,s,c]
struct Bf16Conv {
  const float* picture = nullptr;  // [n, in_h, in_w, in_c]
  int64_t n = 1, in_h = 1, in_w = 1, in_c = 1;
  int64_t top = 0, left = 0;  // may be negative
  Padding::Mode mode = Padding::Mode::zero;
  int64_t k_h = 1, k_w = 1, stride_h = 1, stride_w = 1;
  int64_t out_h = 1, out_w = 1, out_c = 1;

  /// filter[k,r,s,c] is at weight[k * k_stride + c * c_stride + r * row_stride + s * column_stride]; k_stride or
  /// c_stride is 1.
  const float* weight = nullptr;
  int64_t k_stride = 0, c_stride = 0, row_stride = 0, column_stride = 0;

  /// Pixel (n, h, w) of the output and of relu_mask begins at n * out_image + h * out_row + w * out_pixel.
  float* output = nullptr;
  int64_t out_image = 0, out_row = 0, out_pixel = 0;
  /// Unused pointers are nullptr; with beta 0 the old output is not read.
  const float* bias = nullptr;
  bool relu = false;
  float beta = 0.0f;
  BitSpan relu_mask = {};
  uint8_t* positive_output = nullptr;  // bits where the output is positive; out_c a multiple of 8

  /// Pooling of the output, and a picture that stands for the gradient of 2x2 windows: as in WinogradConv. The latter
  /// with zero padding only.
  float* pooled_output = nullptr;
  uint8_t* choice = nullptr;
  bool max_pooled = false;
  const uint8_t* picture_choice = nullptr;
  BitSpan picture_positive = {};
  bool is_unpooled() const { return picture_choice || picture_positive; }

  bool has_outputs() const { return out_h > 0 && out_w > 0; }
  /// Pixels of the output without gaps.
  void lay_out_densely() { out_pixel = out_c, out_row = out_w * out_c, out_image = out_h * out_row; }
};

/// Outputs [h, h + rows) x [w, w + columns) of picture n whose sums are computed together, and where those of a pixel
/// lie: 32 floats at sum(y, x) * 32, y and x counted from h and w.
struct Bf16Region {
  int64_t n, h, w, rows, columns;
  int64_t pitch;  // of rows that follow each other; 0: blocks of 32 pixels of a row, those of the same columns together
  int64_t sum(int64_t y, int64_t x) const { return pitch > 0 ? y * pitch + x : (x / 32 * rows + y) * 32 + x % 32; }
};

/// Writes output channels [column, column + count) of a region, at most 32; its h and w are even where the convolution
/// pools, and so are rows and columns unless the output ends there.
void bf16_output(const Bf16Conv& conv, const Bf16Region& region, int64_t column, int64_t count, const float* sums);
/// Pixels [begin, end) of row y of the gradient that the windows of conv.picture stand for: row [end - begin, in_c].
void bf16_unpooled_row(const Bf16Conv& conv, int64_t n, int64_t y, int64_t begin, int64_t end, float* row);

}  // namespace minidl::cpu
