#include <minidl/kernels/cpu/windows.h>

#include <algorithm>

namespace minidl::cpu {

void Windows::copy(int64_t row, int64_t rows, int64_t column, int64_t columns, float* output, int64_t stride) const {
  int64_t w = row % out_w, h = row / out_w % out_h, n = row / out_w / out_h;
  for (int64_t i = 0; i < rows; ++i) {
    copy_window(n, h, w, column, columns, output + i * stride);
    if (++w < out_w) continue;
    w = 0;
    if (++h < out_h) continue;
    h = 0;
    ++n;
  }
}

/// A window's row of k_w * c values lies in one piece in the picture, unless it reaches over the left or right edge.
void Windows::copy_window(int64_t n, int64_t h, int64_t w, int64_t column, int64_t columns, float* output) const {
  const int64_t length = k_w * c, first = w * stride_w - left;
  const bool inside = first >= 0 && first + k_w <= in_w;
  int64_t r = column / length, begin = column % length;
  while (columns > 0) {
    const int64_t count = std::min(length - begin, columns);
    const int64_t i = padded_index(h * stride_h + r - top, in_h, mode);
    const float* line = picture + (n * in_h + i) * in_w * c;  // used only when i >= 0
    if (i < 0) {
      std::fill_n(output, count, 0.0f);
    } else if (inside) {
      std::copy_n(line + first * c + begin, count, output);
    } else {
      copy_border(line, w, begin, begin + count, output);
    }
    output += count;
    columns -= count;
    begin = 0;
    ++r;
  }
}

/// Values [begin, end) of the window's row, pixel by pixel.
void Windows::copy_border(const float* line, int64_t w, int64_t begin, int64_t end, float* output) const {
  while (begin < end) {
    const int64_t s = begin / c, from = begin % c, count = std::min(c - from, end - begin);
    const int64_t j = padded_index(w * stride_w + s - left, in_w, mode);
    if (j < 0) {
      std::fill_n(output, count, 0.0f);
    } else {
      std::copy_n(line + j * c + from, count, output);
    }
    output += count;
    begin += count;
  }
}

}  // namespace minidl::cpu
