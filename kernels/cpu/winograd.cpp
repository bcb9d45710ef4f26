#include <minidl/kernels/cpu/simd.h>
#include <minidl/kernels/cpu/winograd.h>

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "minidl/kernels/cpu/winograd.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include <minidl/kernels/cpu/conv_output-inl.h>
#include <minidl/kernels/cpu/map-inl.h>
#include <minidl/kernels/cpu/winograd-inl.h>

HWY_BEFORE_NAMESPACE();
namespace minidl::cpu::HWY_NAMESPACE {

constexpr int kEdge = 6, kTile = WinogradConv::kTile;  // of an input and an output tile

/// Where tile `index` lies: its picture and its first output.
struct TilePlace {
  int64_t n, h, w;
};
HWY_INLINE TilePlace tile_place(const WinogradConv& conv, int64_t index) {
  const int64_t columns = conv.tiles_w(), rows = conv.tiles_h();
  return {index / columns / rows, index / columns % rows * kTile, index % columns * kTile};
}

/// The pixels of an input tile inside the picture: equally spaced.
struct InsidePixels {
  const float* first;
  int64_t row, column;
  template <class D>
  HWY_INLINE hn::Vec<D> load(D d, int i, int j, int64_t c) const {
    return hn::LoadU(d, first + i * row + j * column + c);
  }
  /// Brings a column of the next tile into the first cache.
  HWY_INLINE void fetch(int j, int64_t c) const {
    for (int i = 0; i < kEdge; ++i) hwy::Prefetch(first + i * row + j * column + c);
  }
};

/// The pixels of an input tile that reaches over the border; nullptr is a zero.
struct BorderPixels {
  const float* pixel[kEdge][kEdge];
  template <class D>
  HWY_INLINE hn::Vec<D> load(D d, int i, int j, int64_t c) const {
    return pixel[i][j] ? hn::LoadU(d, pixel[i][j] + c) : hn::Zero(d);
  }
  HWY_INLINE void fetch(int, int64_t) const {}
};

/// The pixels of an input tile of an unpooled picture. A row or a column beyond the windows or the picture is zero.
struct UnpooledPixels {
  const WinogradConv& conv;
  const float* first;          // of the picture's windows
  const uint8_t* choice;       // likewise
  BitSpan positive;            // of the picture
  int64_t y[kEdge], x[kEdge];  // of the picture; negative: zero

  UnpooledPixels(const WinogradConv& of, const TilePlace& place, int64_t c) : conv(of) {
    const int64_t windows = place.n * (conv.in_h / 2) * (conv.in_w / 2) * conv.in_c + c;
    first = conv.picture + windows;
    choice = conv.picture_choice ? conv.picture_choice + windows : nullptr;
    positive = conv.picture_positive.from(place.n * conv.in_h * conv.in_w * conv.in_c + c);
    const auto inside = [](int64_t position, int64_t extent) { return position < extent / 2 * 2 ? position : -1; };
    for (int i = 0; i < kEdge; ++i) {
      y[i] = inside(place.h - conv.top + i, conv.in_h);
      x[i] = inside(place.w - conv.left + i, conv.in_w);
    }
  }
  template <class D>
  HWY_INLINE hn::Vec<D> load(D d, int i, int j, int64_t c) const {
    if (y[i] < 0 || x[j] < 0) return hn::Zero(d);
    const int64_t window = (y[i] / 2 * (conv.in_w / 2) + x[j] / 2) * conv.in_c + c;
    const auto grad = hn::LoadU(d, first + window);
    if (choice) return chosen(d, choice + window, y[i] % 2 * 2 + x[j] % 2, grad);
    const auto open = load_mask(d, positive, (y[i] * conv.in_w + x[j]) * conv.in_c + c);
    return hn::IfThenElseZero(open, hn::Mul(grad, hn::Set(d, 0.25f)));
  }
  HWY_INLINE void fetch(int, int64_t) const {}
};

template <class Pixels>
HWY_INLINE void input_tile(const Pixels& pixels, int64_t channels, float* values, int64_t plane) {
  for_lanes(0, channels, [&](auto d, int64_t c) HWY_ATTR {
    using V = hn::Vec<decltype(d)>;
    V t[kEdge][kEdge];  // column by column: Bᵀ d
    HWY_UNROLL(6)
    for (int j = 0; j < kEdge; ++j) {
      HWY_UNROLL(6)
      for (int i = 0; i < kEdge; ++i) t[j][i] = pixels.load(d, i, j, c);
      if (j + kTile >= kEdge) pixels.fetch(j + kTile, c);
      transform_input(d, t[j]);
    }
    HWY_UNROLL(6)
    for (int i = 0; i < kEdge; ++i) {
      V x[kEdge] = {t[0][i], t[1][i], t[2][i], t[3][i], t[4][i], t[5][i]};
      transform_input(d, x);
      HWY_UNROLL(6)
      for (int j = 0; j < kEdge; ++j) hn::StoreU(x[j], d, values + (i * kEdge + j) * plane + c);
    }
  });
}

void InputTile(const WinogradConv& conv, int64_t tile, int64_t c, int64_t channels, float* values, int64_t plane) {
  const TilePlace place = tile_place(conv, tile);
  if (conv.is_unpooled()) {
    input_tile(UnpooledPixels(conv, place, c), channels, values, plane);
    return;
  }
  const int64_t h = place.h - conv.top, w = place.w - conv.left, row = conv.in_w * conv.in_c;
  const float* picture = conv.picture + place.n * conv.in_h * row + c;
  if (h >= 0 && w >= 0 && h + kEdge <= conv.in_h && w + kEdge <= conv.in_w) {
    input_tile(InsidePixels{picture + h * row + w * conv.in_c, row, conv.in_c}, channels, values, plane);
    return;
  }
  BorderPixels border;
  for (int i = 0; i < kEdge; ++i) {
    const int64_t y = padded_index(h + i, conv.in_h, conv.mode);
    for (int j = 0; j < kEdge; ++j) {
      const int64_t x = padded_index(w + j, conv.in_w, conv.mode);
      border.pixel[i][j] = y < 0 || x < 0 ? nullptr : picture + y * row + x * conv.in_c;
    }
  }
  input_tile(border, channels, values, plane);
}

void Input(const WinogradConv& conv, int64_t begin, int64_t end, float* values, int64_t plane) {
  for (int64_t tile = begin; tile < end; ++tile, values += conv.in_c)
    InputTile(conv, tile, 0, conv.in_c, values, plane);
}

/// G g Gᵀ of the filters whose first taps lie together from `taps` on: store(d, point, i, vector) for lanes [i, ...).
template <class Store>
HWY_INLINE void filter_lanes(const float* taps, int64_t tap_stride, int64_t count, const Store& store) {
  for_lanes(0, count, [&](auto d, int64_t i) HWY_ATTR {
    using V = hn::Vec<decltype(d)>;
    V t[3][kEdge];  // column by column: G g
    for (int s = 0; s < 3; ++s) {
      V g[3];
      for (int r = 0; r < 3; ++r) g[r] = hn::LoadU(d, taps + (r * 3 + s) * tap_stride + i);
      transform_filter(d, g, t[s]);
    }
    for (int p = 0; p < kEdge; ++p) {
      const V g[3] = {t[0][p], t[1][p], t[2][p]};
      V x[kEdge];
      transform_filter(d, g, x);
      for (int q = 0; q < kEdge; ++q) store(d, p * kEdge + q, i, x[q]);
    }
  });
}

void Filters(const WinogradFilters& filters, int64_t c, int64_t channels, int64_t column, int64_t count, int64_t width,
             float* panel, int64_t plane) {
  constexpr int64_t kPoints = WinogradConv::kPoints, kBlock = 16, kTaps = 9;
  /// Row i of the panel from the taps of its filters, which lie together; columns from `from` on.
  const auto transform_row = [&](int64_t i, const float* taps, int64_t tap_stride, int64_t from,
                                 int64_t existing) HWY_ATTR {
    float* row = panel + i * width + from;
    filter_lanes(taps, tap_stride, existing,
                 [&](auto d, int64_t point, int64_t j, auto x) HWY_ATTR { hn::StoreU(x, d, row + point * plane + j); });
  };
  if (filters.k_stride == 1) {
    for (int64_t i = c; i < c + channels; ++i)
      transform_row(i, filters.weight + i * filters.c_stride + column, filters.tap_stride, 0, count);
  } else {
    HWY_ALIGN float scratch[kTaps * kBlock * kBlock];  // [tap, c, k]: there are fewer taps to be turned than points
    for (int64_t i = c; i < c + channels; i += kBlock) {
      const int64_t rows = std::min(kBlock, c + channels - i);
      for (int64_t j = 0; j < count; j += kBlock) {
        const int64_t columns = std::min(kBlock, count - j);
        const float* weight = filters.weight + (column + j) * filters.k_stride + i;
        for (int64_t tap = 0; tap < kTaps; ++tap) {
          // No processor fetches ahead what lies in another page for each filter.
          const float* next = weight + tap * filters.tap_stride + kBlock * filters.k_stride;
          for (int64_t k = 0; j + kBlock + k < count && k < kBlock; ++k) hwy::Prefetch(next + k * filters.k_stride);
          transpose(weight + tap * filters.tap_stride, filters.k_stride, rows, columns, scratch + tap * kBlock * kBlock,
                    kBlock);
        }
        for (int64_t row = 0; row < rows; ++row)
          transform_row(i + row, scratch + row * kBlock, kBlock * kBlock, j, columns);
      }
    }
  }
  for (int64_t point = 0; count < width && point < kPoints; ++point) {
    for (int64_t i = c; i < c + channels; ++i)
      std::fill(panel + point * plane + i * width + count, panel + point * plane + (i + 1) * width, 0.0f);
  }
}

void Output(const WinogradConv& conv, int64_t begin, int64_t end, int64_t column, int64_t count, const float* sums,
            int64_t plane, int64_t stride) {
  for (int64_t tile = begin; tile < end; ++tile, sums += stride) {
    const TilePlace place = tile_place(conv, tile);
    const int64_t rows = std::min<int64_t>(kTile, conv.out_h - place.h),
                  columns = std::min<int64_t>(kTile, conv.out_w - place.w);
    const int64_t first = ((place.n * conv.out_h + place.h) * conv.out_w + place.w) * conv.out_c + column;
    const int64_t pooled_row = conv.out_w / 2 * conv.out_c;
    const int64_t first_pooled =
        (place.n * (conv.out_h / 2) + place.h / 2) * pooled_row + place.w / 2 * conv.out_c + column;
    for_lanes(0, count, [&](auto d, int64_t k) HWY_ATTR {
      using V = hn::Vec<decltype(d)>;
      V t[kEdge][kTile];  // column by column: Aᵀ m
      HWY_UNROLL(6)
      for (int j = 0; j < kEdge; ++j) {
        V m[kEdge];
        HWY_UNROLL(6)
        for (int i = 0; i < kEdge; ++i) m[i] = hn::LoadU(d, sums + (i * kEdge + j) * plane + k);
        transform_output(d, m, t[j]);
      }
      const V bias = conv.bias ? hn::LoadU(d, conv.bias + column + k) : hn::Zero(d);
      V above[kTile] = {bias, bias, bias, bias};  // the row before; bias: of none
      HWY_UNROLL(4)
      for (int i = 0; i < kTile; ++i) {
        if (i >= rows) break;
        const V m[kEdge] = {t[0][i], t[1][i], t[2][i], t[3][i], t[4][i], t[5][i]};
        V x[kTile];
        transform_output(d, m, x);
        const int64_t at = first + i * conv.out_w * conv.out_c + k;
        HWY_UNROLL(4)
        for (int j = 0; j < kTile; ++j) {
          if (j >= columns) break;
          x[j] = finished(d, conv, at + j * conv.out_c, bias, x[j]);
          if (!conv.pooled_output) hn::StoreU(x[j], d, conv.output + at + j * conv.out_c);
        }
        if (!conv.pooled_output) continue;
        HWY_UNROLL(2)
        for (int j = 0; j < kTile; j += 2) {
          if (i % 2 == 1 && j + 1 < columns) {
            const V window[4] = {above[j], above[j + 1], x[j], x[j + 1]};
            pool_window(d, conv, first_pooled + i / 2 * pooled_row + j / 2 * conv.out_c + k, window);
          }
        }
        HWY_UNROLL(4)
        for (int j = 0; j < kTile; ++j) above[j] = x[j];
      }
    });
  }
}

}  // namespace minidl::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace minidl::cpu {

HWY_EXPORT(Input);
HWY_EXPORT(InputTile);
HWY_EXPORT(Filters);
HWY_EXPORT(Output);

void winograd_input(const WinogradConv& conv, int64_t begin, int64_t end, float* values, int64_t plane) {
  MINIDL_DISPATCH(Input)(conv, begin, end, values, plane);
}

void winograd_input_tile(const WinogradConv& conv, int64_t tile, int64_t c, int64_t channels, float* values,
                         int64_t plane) {
  MINIDL_DISPATCH(InputTile)(conv, tile, c, channels, values, plane);
}

void winograd_filters(const WinogradFilters& filters, int64_t c, int64_t channels, int64_t column, int64_t count,
                      int64_t width, float* panel, int64_t plane) {
  MINIDL_DISPATCH(Filters)(filters, c, channels, column, count, width, panel, plane);
}

void winograd_output(const WinogradConv& conv, int64_t begin, int64_t end, int64_t column, int64_t count,
                     const float* sums, int64_t plane, int64_t stride) {
  MINIDL_DISPATCH(Output)(conv, begin, end, column, count, sums, plane, stride);
}

}  // namespace minidl::cpu
#endif
