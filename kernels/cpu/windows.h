#pragma once
#include <minidl/kernels/cpu/packed_gemm.h>
#include <minidl/kernels/padding.h>

#include <cstdint>

namespace minidl::cpu {

/// The matrix of all windows of a picture batch, which exists only piece by piece: row (n, h, w) of out_h * out_w rows
/// a picture holds the k_h * k_w * c values that window position (h, w) reads, in the order r, s, c.
struct Windows {
  const float* picture = nullptr;  // [n, in_h, in_w, c]
  int64_t in_h = 1, in_w = 1, c = 1;
  int64_t out_h = 1, out_w = 1;
  int64_t k_h = 1, k_w = 1;
  int64_t stride_h = 1, stride_w = 1;
  int64_t top = 0, left = 0;  // window (h, w) begins at (h * stride_h - top, w * stride_w - left)
  Padding::Mode mode = Padding::Mode::zero;

  /// Values of a window that lie together in the picture.
  int64_t run() const { return k_w * c; }
  void read_rows(const GemmRows& rows) const;

 private:
  struct Position {
    int64_t n, h, w;
  };
  Position position(int64_t row) const { return {row / out_w / out_h, row / out_w % out_h, row % out_w}; }
  void advance(Position& at) const;
  const float* in_place(const Position& at, int64_t column, int64_t columns) const;
  void copy_window(const Position& at, int64_t column, int64_t columns, float* output) const;
  void copy_border(const float* line, int64_t w, int64_t begin, int64_t end, float* output) const;
};

}  // namespace minidl::cpu
