#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "minidl/kernels/cpu/pool2d.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include <minidl/kernels/cpu/map-inl.h>

#include <algorithm>
#include <limits>

HWY_BEFORE_NAMESPACE();
namespace minidl::cpu::HWY_NAMESPACE {

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

struct PoolGradient {
  const Pool2dDesc& desc;
  const uint8_t* choice;  // nullptr for average pooling
  const float* grad_output;
  GradTarget target;
};

/// Gradient of input pixel (n, h, w), all channels: gathered from the windows that contain it.
HWY_INLINE void gather_pixel(const PoolGradient& pool, int64_t n, int64_t h, int64_t w) {
  const Pool2dDesc& desc = pool.desc;
  const int64_t out_h = desc.out_h(), out_w = desc.out_w(), stride_h = desc.window.stride_h,
                stride_w = desc.window.stride_w;
  const int64_t top = desc.window.padding.top, left = desc.window.padding.left;
  const Range rows = windows_over(h, top, desc.k_h, stride_h, out_h);
  const Range columns = windows_over(w, left, desc.k_w, stride_w, out_w);
  for_lanes(0, desc.c, [&](auto d, int64_t c) HWY_ATTR {
    const hn::RebindToSigned<decltype(d)> di;
    const hn::Rebind<uint8_t, decltype(d)> d8;
    auto sum = hn::Zero(d);
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      for (int64_t j = columns.begin; j < columns.end; ++j) {
        const int64_t at = ((n * out_h + i) * out_w + j) * desc.c + c;
        auto grad = hn::LoadU(d, pool.grad_output + at);
        if (pool.choice) {
          const int64_t offset = (h + top - i * stride_h) * desc.k_w + w + left - j * stride_w;
          const auto chosen =
              hn::Eq(hn::PromoteTo(di, hn::LoadU(d8, pool.choice + at)), hn::Set(di, static_cast<int32_t>(offset)));
          grad = hn::IfThenElseZero(hn::RebindMask(d, chosen), grad);
        }
        sum = hn::Add(sum, grad);
      }
    }
    if (desc.kind == PoolKind::average) sum = hn::Div(sum, hn::Set(d, static_cast<float>(desc.k_h * desc.k_w)));
    store_grad(d, pool.target, ((n * desc.in_h + h) * desc.in_w + w) * desc.c + c, sum);
  });
}

void pool2d_backward(const Pool2dDesc& desc, const uint8_t* choice, const float* grad_output,
                     const GradTarget& target) {
  const PoolGradient pool{desc, choice, grad_output, target};
  parallel_for(0, desc.n * desc.in_h, row_grain(desc.in_w, desc.c), [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t w = 0; w < desc.in_w; ++w) gather_pixel(pool, row / desc.in_h, row % desc.in_h, w);
    }
  });
}

}  // namespace minidl::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace minidl::cpu {

HWY_EXPORT(pool2d_forward);
HWY_EXPORT(pool2d_backward);

void pool2d_forward(const Pool2dDesc& desc, const float* input, float* output, uint8_t* choice) {
  HWY_DYNAMIC_DISPATCH(pool2d_forward)(desc, input, output, choice);
}
void pool2d_backward(const Pool2dDesc& desc, const uint8_t* choice, const float* grad_output,
                     const GradTarget& target) {
  HWY_DYNAMIC_DISPATCH(pool2d_backward)(desc, choice, grad_output, target);
}

}  // namespace minidl::cpu
#endif  // HWY_ONCE
