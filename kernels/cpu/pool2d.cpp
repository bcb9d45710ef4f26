#include <minidl/kernels/cpu/simd.h>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "minidl/kernels/cpu/pool2d.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include <minidl/kernels/cpu/map-inl.h>

#include <algorithm>
#include <limits>
#include <vector>

HWY_BEFORE_NAMESPACE();
namespace minidl::cpu::HWY_NAMESPACE {

/// A larger gradient is not in the cache any more when it is read: fetching its lines in order to write them would be
/// a third of the traffic.
constexpr int64_t kCachedFloats = (16 << 20) / sizeof(float);

/// Indices [begin, end).
struct Range {
  int64_t begin, end;
};

/// Offsets in a window that lie inside the input when the window starts at `start`, which may be negative.
HWY_INLINE Range offsets_inside(int64_t start, int64_t window, int64_t extent) {
  return {std::max<int64_t>(0, -start), std::min(window, extent - start)};
}

/// Windows that contain pixel `i`, of `count` windows that start at -before, stride - before, ...
HWY_INLINE Range windows_over(int64_t i, int64_t before, int64_t window, int64_t stride, int64_t count) {
  const int64_t position = i + before;
  const int64_t first = position < window ? 0 : (position - window) / stride + 1;
  return {first, std::min(count, position / stride + 1)};
}

/// Rows per chunk of a parallel loop.
HWY_INLINE int64_t row_grain(int64_t width, int64_t channels) {
  return std::max<int64_t>(1, kGrain / (width * channels));
}

/// Bands of k_h rows in one picture.
HWY_INLINE int64_t bands_of(const Pool2dDesc& desc) {
  return (desc.in_h + desc.k_h - 1) / desc.k_h;
}

/// The pixels of one window that lie inside the input: `rows` x `columns` from `first` on, which is offset
/// `first_offset` = r * k_w + s.
struct InsideWindow {
  const float* first;
  int64_t rows, columns, first_offset;
};

/// One output pixel of max pooling, all channels; `choice` may be nullptr.
HWY_INLINE void max_pixel(const Pool2dDesc& desc, const InsideWindow& window, float* output, uint8_t* choice) {
  for_lanes(0, desc.c, [&](auto d, int64_t c) HWY_ATTR {
    const hn::RebindToSigned<decltype(d)> di;
    auto best = hn::Set(d, -std::numeric_limits<float>::infinity());
    auto best_offset = hn::Set(di, static_cast<int32_t>(window.first_offset));
    for (int64_t r = 0; r < window.rows; ++r) {
      for (int64_t s = 0; s < window.columns; ++s) {
        const auto x = hn::LoadU(d, window.first + (r * desc.in_w + s) * desc.c + c);
        const auto better = hn::AndNot(hn::Le(x, best), hn::Eq(best, best));  // larger or NaN, and best is not NaN yet
        best = hn::IfThenElse(better, x, best);
        const auto offset = hn::Set(di, static_cast<int32_t>(window.first_offset + r * desc.k_w + s));
        best_offset = hn::IfThenElse(hn::RebindMask(di, better), offset, best_offset);
      }
    }
    hn::StoreU(best, d, output + c);
    const hn::Rebind<uint8_t, decltype(d)> d8;
    if (choice) hn::StoreU(hn::DemoteTo(d8, best_offset), d8, choice + c);
  });
}

/// One output pixel of average pooling, all channels.
HWY_INLINE void average_pixel(const Pool2dDesc& desc, const InsideWindow& window, float* output) {
  for_lanes(0, desc.c, [&](auto d, int64_t c) HWY_ATTR {
    auto sum = hn::Zero(d);
    for (int64_t r = 0; r < window.rows; ++r) {
      for (int64_t s = 0; s < window.columns; ++s)
        sum = hn::Add(sum, hn::LoadU(d, window.first + (r * desc.in_w + s) * desc.c + c));
    }
    hn::StoreU(hn::Div(sum, hn::Set(d, static_cast<float>(desc.k_h * desc.k_w))), d, output + c);
  });
}

void pool2d_forward(const Pool2dDesc& desc, const float* input, float* output, uint8_t* choice) {
  const int64_t out_h = desc.out_h(), out_w = desc.out_w();
  const Padding& pad = desc.window.padding;
  parallel_for(0, desc.n * out_h, row_grain(out_w, desc.c), [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t n = row / out_h, top = row % out_h * desc.window.stride_h - pad.top;
      const Range r = offsets_inside(top, desc.k_h, desc.in_h);
      for (int64_t w = 0; w < out_w; ++w) {
        const int64_t left = w * desc.window.stride_w - pad.left;
        const Range s = offsets_inside(left, desc.k_w, desc.in_w);
        const float* first = input + ((n * desc.in_h + top + r.begin) * desc.in_w + left + s.begin) * desc.c;
        const InsideWindow window{first, r.end - r.begin, s.end - s.begin, r.begin * desc.k_w + s.begin};
        const int64_t at = (row * out_w + w) * desc.c;
        if (desc.kind == PoolKind::max) {
          max_pixel(desc, window, output + at, choice ? choice + at : nullptr);
        } else {
          average_pixel(desc, window, output + at);
        }
      }
    }
  });
}

/// A window that contains a pixel: its first channel in the output, and the pixel's offset r * k_w + s in it.
struct Containing {
  int64_t first;
  int32_t offset;
};

/// Gradient of the input pixel whose first channel is `at`: gathered from the windows that contain it.
HWY_INLINE void gather_pixel(const PoolGradient& pool, const std::vector<Containing>& windows, int64_t at) {
  for_lanes(0, pool.desc.c, [&](auto d, int64_t c) HWY_ATTR {
    const hn::RebindToSigned<decltype(d)> di;
    const hn::Rebind<uint8_t, decltype(d)> d8;
    auto sum = hn::Zero(d);
    for (const Containing& window : windows) {
      auto grad = hn::LoadU(d, pool.grad_output + window.first + c);
      if (pool.choice) {
        const auto choice = hn::PromoteTo(di, hn::LoadU(d8, pool.choice + window.first + c));
        grad = hn::IfThenElseZero(hn::RebindMask(d, hn::Eq(choice, hn::Set(di, window.offset))), grad);
      }
      sum = hn::Add(sum, grad);
    }
    if (!pool.choice) sum = hn::Div(sum, hn::Set(d, static_cast<float>(pool.desc.k_h * pool.desc.k_w)));
    store_grad(d, pool.target, at + c, sum);
  });
}

/// Any windows: each input pixel looks up those that contain it.
void gather_backward(const PoolGradient& pool) {
  const Pool2dDesc& desc = pool.desc;
  const Window& window = desc.window;
  const int64_t out_h = desc.out_h(), out_w = desc.out_w();
  std::vector<Range> columns(static_cast<size_t>(desc.in_w));
  for (int64_t w = 0; w < desc.in_w; ++w) {
    columns[static_cast<size_t>(w)] = windows_over(w, window.padding.left, desc.k_w, window.stride_w, out_w);
  }
  parallel_for(0, desc.n * desc.in_h, row_grain(desc.in_w, desc.c), [&](int64_t begin, int64_t end) HWY_ATTR {
    std::vector<Containing> windows;
    for (int64_t row = begin; row < end; ++row) {
      const int64_t n = row / desc.in_h, h = row % desc.in_h;
      const Range rows = windows_over(h, window.padding.top, desc.k_h, window.stride_h, out_h);
      for (int64_t w = 0; w < desc.in_w; ++w) {
        const Range across = columns[static_cast<size_t>(w)];
        windows.clear();
        for (int64_t i = rows.begin; i < rows.end; ++i) {
          for (int64_t j = across.begin; j < across.end; ++j) {
            const int64_t r = h + window.padding.top - i * window.stride_h;
            const int64_t s = w + window.padding.left - j * window.stride_w;
            windows.push_back({((n * out_h + i) * out_w + j) * desc.c, static_cast<int32_t>(r * desc.k_w + s)});
          }
        }
        gather_pixel(pool, windows, (row * desc.in_w + w) * desc.c);
      }
    }
  });
}

/// Gradient of all pixels of one window, whose first channel is `first` in the output and `at` in the input.
template <bool kPastCache>
HWY_INLINE void spread_window(const PoolGradient& pool, int64_t first, int64_t at) {
  const Pool2dDesc& desc = pool.desc;
  for_lanes(0, desc.c, [&](auto d, int64_t c) HWY_ATTR {
    const hn::RebindToSigned<decltype(d)> di;
    const hn::Rebind<uint8_t, decltype(d)> d8;
    auto grad = hn::LoadU(d, pool.grad_output + first + c);
    auto choice = hn::Zero(di);
    if (pool.choice) {
      choice = hn::PromoteTo(di, hn::LoadU(d8, pool.choice + first + c));
    } else {
      grad = hn::Div(grad, hn::Set(d, static_cast<float>(desc.k_h * desc.k_w)));
    }
    for (int64_t r = 0; r < desc.k_h; ++r) {
      for (int64_t s = 0; s < desc.k_w; ++s) {
        const auto chosen = hn::Eq(choice, hn::Set(di, static_cast<int32_t>(pool.choice ? r * desc.k_w + s : 0)));
        store_grad<kPastCache>(d, pool.target, at + (r * desc.in_w + s) * desc.c + c,
                               hn::IfThenElseZero(hn::RebindMask(d, chosen), grad));
      }
    }
  });
}

/// Bands [begin, end) of k_h rows of the input, counted through all pictures; the last one of a picture may be cut.
template <bool kPastCache>
void spread_bands(const PoolGradient& pool, int64_t begin, int64_t end) {
  const Pool2dDesc& desc = pool.desc;
  const int64_t out_h = desc.out_h(), out_w = desc.out_w(), row = desc.in_w * desc.c;
  const int64_t bands = bands_of(desc);
  for (int64_t band = begin; band < end; ++band) {
    const int64_t n = band / bands, i = band % bands, covered = i < out_h ? out_w : 0;
    const int64_t top = n * desc.in_h + i * desc.k_h, bottom = std::min(top + desc.k_h, (n + 1) * desc.in_h);
    for (int64_t j = 0; j < covered; ++j) {
      spread_window<kPastCache>(pool, ((n * out_h + i) * out_w + j) * desc.c, top * row + j * desc.k_w * desc.c);
    }
    for (int64_t h = top; h < bottom; ++h) {
      accumulate_range(h * row + covered * desc.k_w * desc.c, (h + 1) * row, pool.target,
                       [](auto d) HWY_ATTR { return hn::Zero(d); });
    }
  }
  if (kPastCache) hwy::FlushStream();
}

/// Windows side by side, without padding: each pixel belongs to one of them, or to none at the lower and right border.
void spread_backward(const PoolGradient& pool) {
  const Pool2dDesc& desc = pool.desc;
  const auto lanes = static_cast<int64_t>(hn::Lanes(hn::ScalableTag<float>()));
  const bool aligned = desc.c % lanes == 0 && reinterpret_cast<uintptr_t>(pool.target.grad) % (4 * lanes) == 0;
  const bool past_cache = aligned && pool.target.beta == 0.0f && desc.input_shape().count() > kCachedFloats;
  const auto spread = past_cache ? spread_bands<true> : spread_bands<false>;
  parallel_for(0, desc.n * bands_of(desc), row_grain(desc.k_h * desc.in_w, desc.c),
               [&](int64_t begin, int64_t end) { spread(pool, begin, end); });
}

void pool2d_backward(const PoolGradient& pool) {
  const Window& window = pool.desc.window;
  const bool side_by_side =
      window.stride_h == pool.desc.k_h && window.stride_w == pool.desc.k_w && !window.padding.any();
  side_by_side ? spread_backward(pool) : gather_backward(pool);
}

}  // namespace minidl::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace minidl::cpu {

HWY_EXPORT(pool2d_forward);
HWY_EXPORT(pool2d_backward);

void pool2d_forward(const Pool2dDesc& desc, const float* input, float* output, uint8_t* choice) {
  MINIDL_DISPATCH(pool2d_forward)(desc, input, output, choice);
}
void pool2d_backward(const PoolGradient& pool) {
  MINIDL_DISPATCH(pool2d_backward)(pool);
}
void close_choice(int64_t count, const float* largest, uint8_t* choice) {
  for (int64_t i = 0; i < count; ++i) {
    if (!(largest[i] > 0.0f)) choice[i] = 4;
  }
}

}  // namespace minidl::cpu
#endif  // HWY_ONCE
