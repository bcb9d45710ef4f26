#pragma once
#include <minidl/core/bit_mask.h>
#include <minidl/kernels/padding.h>

#include <cstdint>
#include <vector>

namespace minidl::cpu {

/// A convolution with few channels on one side:
///   r[n,h,w,k] = bias[k] + sum over r,s,c of picture'[n, h*stride_h + r - top, w*stride_w + s - left, c] *
///   weight[k,r,s,c] output = act(beta * output + (relu_mask ? r : 0))
/// A window's row of k_w * in_c values lies together in the picture. With few input channels a group of pixels has its
/// sums in registers whose lanes are output channels (wide); with few output channels the lanes run along the window
/// and are added up at the end (narrow): then k_w * in_c must be a multiple of kWholeRun.
struct DirectConv {
  static constexpr int64_t kFewChannels = 4, kWholeRun = 16;

  const float* picture = nullptr;  // [n, in_h, in_w, in_c]
  int64_t n = 1, in_h = 1, in_w = 1, in_c = 1;
  int64_t top = 0, left = 0;  // may be negative
  Padding::Mode mode = Padding::Mode::zero;
  int64_t stride_h = 1, stride_w = 1;
  const float* weight = nullptr;  // [out_c, k_h, k_w, in_c]
  int64_t out_c = 1, k_h = 1, k_w = 1;
  int64_t out_h = 1, out_w = 1;
  float* output = nullptr;  // [n, out_h, out_w, out_c]
  /// Unused pointers are nullptr; with beta 0 the old output is not read.
  const float* bias = nullptr;
  bool relu = false;
  float beta = 0.0f;
  BitSpan relu_mask = {};              // [n, out_h, out_w, out_c]
  uint8_t* positive_output = nullptr;  // bits of the same shape: where the output is positive; out_c a multiple of 8

  bool narrow() const { return in_c > kFewChannels; }
  int64_t run() const { return k_w * in_c; }
  int64_t depth() const { return k_h * run(); }
  /// The result is written without regard to what was there.
  bool plain() const { return beta == 0.0f && !relu_mask; }
};

/// The windows of groups of `pixels` outputs in one row, line by line. Lines of zero padding are left out.
class DirectWindows {
 public:
  static constexpr int kMostPixels = 12;
  struct Line {
    const float* picture;
    const float* window;  // of the group's first pixel
    int64_t tap;          // r
  };

  /// Row `row` of n * out_h; `buffer` holds buffer_count floats.
  DirectWindows(const DirectConv& conv, int64_t row, int pixels, float* buffer);
  static int64_t buffer_count(const DirectConv& conv);

  /// To the group that begins at pixel w: its windows are used where they are, or copied when they reach over an edge.
  void move_to(int64_t w);
  const std::vector<Line>& lines() const { return lines_; }

 private:
  void copy_pixels(const float* line, int64_t first, float* output) const;

  const DirectConv& conv_;
  int64_t columns_;  // of the picture that a group reads
  float* buffer_;
  std::vector<Line> lines_;
};

/// Floats of the packed bias and weight, and of the memory that each caller of direct_row needs beside them.
int64_t direct_packed_count(const DirectConv& conv);
int64_t direct_scratch_count(const DirectConv& conv);
/// Brings bias and weight into the order in which direct_row reads them.
void direct_pack(const DirectConv& conv, float* packed);
/// Output row `row` of n * out_h.
void direct_row(const DirectConv& conv, const float* packed, int64_t row, float* scratch);

}  // namespace minidl::cpu
