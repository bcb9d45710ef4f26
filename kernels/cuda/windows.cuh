#pragma once
// How a thread walks over windows: which pixel a tap reads, and the next position along the product's inner dimension.
#include <minidl/kernels/cuda/gather_product.h>
#include <minidl/core/cuda/launch.cuh>

#include <cstdlib>

namespace minidl::cuda {

/// padded_index() of kernels/padding.h.
MINIDL_DEVICE int index_read(int i, int extent, Padding::Mode mode) {
  if (i >= 0 && i < extent) return i;
  if (mode == Padding::Mode::zero) return -1;
  if (mode == Padding::Mode::replicate) return min(max(i, 0), extent - 1);
  const int period = max(1, 2 * (extent - 1)), phase = abs(i) % period;
  return min(phase, period - phase);
}

/// Where a window lies.
struct WindowPlace {
  int pixels;       // of the pictures before its own; -1: there is no such window
  int row, column;  // of the picture, read by tap (0, 0)
};

/// Which window: of picture n, row h and column w of windows.
struct WindowIndex {
  int n, h, w;

  MINIDL_DEVICE void advance(const Windows& windows, int by) {
    w += by;
    while (w >= windows.windows_w) {
      w -= windows.windows_w;
      if (++h == windows.windows_h) {
        h = 0;
        ++n;
      }
    }
  }
  MINIDL_DEVICE WindowPlace place(const Windows& windows) const {
    return {n * windows.in_h * windows.in_w, h * windows.stride_h + windows.begin_h,
            w * windows.stride_w + windows.begin_w};
  }
};

MINIDL_DEVICE WindowIndex window_in_rows(const Windows& windows, int index) {
  const int row = index / windows.windows_w;
  return {row / windows.windows_h, row % windows.windows_h, index % windows.windows_w};
}
MINIDL_DEVICE WindowIndex window_in_cells(const Windows& windows, int index) {
  const int rows = windows.windows_h / 2, columns = windows.windows_w / 2, cell = index / 4, row = cell / columns;
  return {row / rows, row % rows * 2 + index % 4 / 2, cell % columns * 2 + index % 2};
}
MINIDL_DEVICE WindowIndex window_index(const Windows& windows, int index) {
  return windows.in_cells ? window_in_cells(windows, index) : window_in_rows(windows, index);
}

/// Of one of `count` windows; of none beyond them.
MINIDL_DEVICE WindowPlace window_place(const Windows& windows, int index, int count) {
  return index < count ? window_index(windows, index).place(windows) : WindowPlace{-1, 0, 0};
}

/// A place in a window: tap (r, s) and channel c.
struct TapPlace {
  int r, s, c;

  MINIDL_DEVICE void advance(const Windows& windows, int by) {
    c += by;
    while (c >= windows.in_c) {
      c -= windows.in_c;
      if (++s == windows.k_w) {
        s = 0;
        ++r;
      }
    }
  }
};

MINIDL_DEVICE TapPlace tap_place(const Windows& windows, int index) {
  const int tap = index / windows.in_c;
  return {tap / windows.k_w, tap % windows.k_w, index % windows.in_c};
}

/// Where tap and channel of a window lie in the picture; nullptr where they read zero.
template <typename Element>
MINIDL_DEVICE const Element* value_read(const Windows& windows, const Element* picture, const WindowPlace& window,
                                        const TapPlace& tap) {
  if (window.pixels < 0 || tap.r >= windows.k_h) return nullptr;
  const int i = index_read(window.row + tap.r, windows.in_h, windows.mode);
  const int j = index_read(window.column + tap.s, windows.in_w, windows.mode);
  if (i < 0 || j < 0) return nullptr;
  return picture + static_cast<int64_t>(window.pixels + i * windows.in_w + j) * windows.in_c + tap.c;
}

/// The pixel that a tap at (row, column) of a picture reads, of those of the picture, where it is reflected once at the
/// most. Not inside, it may be anything.
struct PixelRead {
  int index;
  bool inside;
};
MINIDL_DEVICE PixelRead pixel_read(const Windows& windows, int row, int column) {
  const int last_row = windows.in_h - 1, last_column = windows.in_w - 1;
  if (windows.mode == Padding::Mode::zero) {
    return {row * windows.in_w + column, row >= 0 && row <= last_row && column >= 0 && column <= last_column};
  }
  if (windows.mode == Padding::Mode::reflect) {
    row = last_row - abs(last_row - abs(row)), column = last_column - abs(last_column - abs(column));
  } else {
    row = min(max(row, 0), last_row), column = min(max(column, 0), last_column);
  }
  return {row * windows.in_w + column, true};
}

/// Starts to copy kCount neighbouring floats, or zeros where `source` is nullptr.
template <int kCount>
MINIDL_DEVICE void fetch(float* shared, const float* source) {
  async_copy<kCount* static_cast<int>(sizeof(float))>(shared, source, source != nullptr);
}

}  // namespace minidl::cuda
