#pragma once
#include <minidl/core/bit_mask.h>
#include <minidl/kernels/cpu/gemm_kernel.h>
#include <minidl/kernels/padding.h>

#include <cstdint>

namespace minidl::cpu {

/// A 3x3 convolution with stride 1, cut into tiles of 4x4 outputs that read 6x6 inputs each (Lavin & Gray 2016,
/// F(4x4, 3x3)):
///   output tile = Aᵀ [ sum over c of (G filter Gᵀ) * (Bᵀ input tile B) ] A,  * element by element,
/// so that a multiplication for each of 36 points replaces nine for each of 16 outputs. The points of the polynomials
/// are 0, ±1/√2, ±√2 and infinity: half the rounding error of 0, ±1, ±2 and infinity.
struct WinogradConv {
  static constexpr int64_t kTile = 4, kPoints = 36;

  const float* picture = nullptr;  // [n, in_h, in_w, in_c]
  int64_t n = 1, in_h = 1, in_w = 1, in_c = 1;
  int64_t top = 0, left = 0;  // output (h, w) reads from (h - top, w - left) on; may be negative
  Padding::Mode mode = Padding::Mode::zero;
  int64_t out_h = 1, out_w = 1, out_c = 1;
  float* output = nullptr;  // [n, out_h, out_w, out_c]
  /// output = act(beta * output + (relu_mask ? r : 0) + bias); unused pointers are nullptr, with beta 0 the old output
  /// is not read.
  const float* bias = nullptr;
  bool relu = false;
  float beta = 0.0f;
  BitSpan relu_mask = {};              // [n, out_h, out_w, out_c]
  uint8_t* positive_output = nullptr;  // bits of the same shape: where the output is positive; out_c a multiple of 8

  /// Unless it is nullptr, the averages or maxima of the 2x2 windows of the output go here, and no output is written.
  float* pooled_output = nullptr;  // [n, out_h / 2, out_w / 2, out_c]
  uint8_t* choice = nullptr;       // of maxima: 2 * row + column of the first largest, 4 when it is not positive
  bool max_pooled = false;

  /// Unless both are empty, `picture` is [n, in_h / 2, in_w / 2, in_c] and stands for the gradient of 2x2 windows: its
  /// value at the pixel of each window that picture_choice names, or a quarter of it at those of picture_positive.
  const uint8_t* picture_choice = nullptr;
  BitSpan picture_positive = {};  // [n, in_h, in_w, in_c]
  bool is_unpooled() const { return picture_choice || picture_positive; }

  int64_t tiles_h() const { return (out_h + kTile - 1) / kTile; }
  int64_t tiles_w() const { return (out_w + kTile - 1) / kTile; }
  int64_t tiles() const { return n * tiles_h() * tiles_w(); }
};

/// Filters of such a convolution: filter k of channel c has its tap (r, s) at weight[k * k_stride + c * c_stride +
/// (r * 3 + s) * tap_stride]; either k_stride or c_stride is 1. A negative tap_stride turns the filter by 180°.
struct WinogradFilters {
  const float* weight;
  int64_t k_stride, c_stride, tap_stride;
  const Tensor* tensor = nullptr;  // that `weight` points into: transformed filters are kept with it
};

/// Bᵀ d B of tiles [begin, end): values[point * plane + (tile - begin) * in_c + c].
void winograd_input(const WinogradConv& conv, int64_t begin, int64_t end, float* values, int64_t plane);
/// Of one tile, channels [c, c + channels): values[point * plane + i].
void winograd_input_tile(const WinogradConv& conv, int64_t tile, int64_t c, int64_t channels, float* values,
                         int64_t plane);
/// G g Gᵀ of channels [c, c + channels) of the filters of one panel, columns [column, column + count) of which exist:
/// panel[point * plane + (c + i) * width + j]; columns from `count` to `width` become zero.
void winograd_filters(const WinogradFilters& filters, int64_t c, int64_t channels, int64_t column, int64_t count,
                      int64_t width, float* panel, int64_t plane);
/// Output channels [column, column + count) of tiles [begin, end) from sums[point * plane + (tile - begin) * stride +
/// k - column].
void winograd_output(const WinogradConv& conv, int64_t begin, int64_t end, int64_t column, int64_t count,
                     const float* sums, int64_t plane, int64_t stride);

}  // namespace minidl::cpu
