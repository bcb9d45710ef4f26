#include <minidl/kernels/cpu/windows.h>

#include <algorithm>

namespace minidl::cpu {

void Windows::advance(Position& at) const {
  if (++at.w < out_w) return;
  at.w = 0;
  if (++at.h < out_h) return;
  at.h = 0;
  ++at.n;
}

/// Columns [column, column + columns) of a window in the picture, or nullptr when they do not lie together there.
const float* Windows::in_place(const Position& at, int64_t column, int64_t columns) const {
  const int64_t r = column / run(), begin = column - r * run(), first = at.w * stride_w - left;
  if (begin + columns > run() || first < 0 || first + k_w > in_w) return nullptr;
  const int64_t i = padded_index(at.h * stride_h + r - top, in_h, mode);
  return i < 0 ? nullptr : picture + ((at.n * in_h + i) * in_w + first) * c + begin;
}

void Windows::read_rows(const GemmRows& rows) const {
  Position at = position(rows.row);
  for (int64_t i = 0; i < rows.rows; ++i, advance(at)) {
    float* copy = rows.buffer + i * rows.buffer_stride;
    for (int64_t p = 0; p < rows.pieces; ++p, copy += rows.piece) {
      const int64_t column = rows.k + p * rows.piece;
      const float* piece = in_place(at, column, rows.piece);
      if (!piece) copy_window(at, column, rows.piece, copy);
      rows.values[p * rows.stride + i] = piece ? piece : copy;
    }
  }
}

/// A window's row of k_w * c values lies in one piece in the picture, unless it reaches over the left or right edge.
void Windows::copy_window(const Position& at, int64_t column, int64_t columns, float* output) const {
  const int64_t first = at.w * stride_w - left;
  const bool inside = first >= 0 && first + k_w <= in_w;
  int64_t r = column / run(), begin = column % run();
  while (columns > 0) {
    const int64_t count = std::min(run() - begin, columns);
    const int64_t i = padded_index(at.h * stride_h + r - top, in_h, mode);
    const float* line = picture + (at.n * in_h + i) * in_w * c;  // used only when i >= 0
    if (i < 0) {
      std::fill_n(output, count, 0.0f);
    } else if (inside) {
      std::copy_n(line + first * c + begin, count, output);
    } else {
      copy_border(line, at.w, begin, begin + count, output);
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
