#include <minidl/kernels/cpu/bf16_conv.h>
#include <minidl/kernels/cpu/simd.h>

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "minidl/kernels/cpu/bf16_conv.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include <minidl/kernels/cpu/conv_output-inl.h>

HWY_BEFORE_NAMESPACE();
namespace minidl::cpu::HWY_NAMESPACE {

constexpr int64_t kBlock = 32;  // output channels that are summed together

struct Channels {
  int64_t column, count;
  const float* sums;
};

HWY_INLINE void whole_rows(const Bf16Conv& conv, const Bf16Region& region, const Channels& channels) {
  for (int64_t y = 0; y < region.rows; ++y) {
    const int64_t first =
        region.n * conv.out_image + (region.h + y) * conv.out_row + region.w * conv.out_pixel + channels.column;
    for_lanes(0, channels.count, [&](auto d, int64_t k) HWY_ATTR {
      const auto bias = conv.bias ? hn::LoadU(d, conv.bias + channels.column + k) : hn::Zero(d);
      for (int64_t x = 0; x < region.columns; ++x) {
        const int64_t at = first + x * conv.out_pixel + k;
        const auto sum = hn::LoadU(d, channels.sums + region.sum(y, x) * kBlock + k);
        hn::StoreU(finished(d, conv, at, bias, sum), d, conv.output + at);
      }
    });
  }
}

/// Pixels beyond the last whole window are computed for the mask alone.
HWY_INLINE void pooled_rows(const Bf16Conv& conv, const Bf16Region& region, const Channels& channels) {
  const int64_t pooled_h = conv.out_h / 2, pooled_w = conv.out_w / 2;
  for (int64_t y = 0; y < region.rows; y += 2) {
    const int64_t h = region.h + y, row = (region.n * pooled_h + h / 2) * pooled_w;
    for_lanes(0, channels.count, [&](auto d, int64_t k) HWY_ATTR {
      using V = hn::Vec<decltype(d)>;
      const int64_t channel = channels.column + k;
      const V bias = conv.bias ? hn::LoadU(d, conv.bias + channel) : hn::Zero(d);
      for (int64_t x = 0; x < region.columns; x += 2) {
        const int64_t w = region.w + x;
        V window[4] = {bias, bias, bias, bias};
        for (int i = 0; i < 4; ++i) {
          const int64_t below = i / 2, beside = i % 2;
          if (y + below >= region.rows || x + beside >= region.columns) continue;
          const V sum = hn::LoadU(d, channels.sums + region.sum(y + below, x + beside) * kBlock + k);
          const int64_t at = region.n * conv.out_image + (h + below) * conv.out_row + (w + beside) * conv.out_pixel;
          window[i] = finished(d, conv, at + channel, bias, sum);
        }
        if (y + 1 < region.rows && x + 1 < region.columns)
          pool_window(d, conv, (row + w / 2) * conv.out_c + channel, window);
      }
    });
  }
}

void Output(const Bf16Conv& conv, const Bf16Region& region, int64_t column, int64_t count, const float* sums) {
  const Channels channels{column, count, sums};
  conv.pooled_output ? pooled_rows(conv, region, channels) : whole_rows(conv, region, channels);
}

void UnpooledRow(const Bf16Conv& conv, int64_t n, int64_t y, int64_t begin, int64_t end, float* row) {
  const int64_t windows_h = conv.in_h / 2, windows_w = conv.in_w / 2;
  for (int64_t x = begin; x < end; ++x, row += conv.in_c) {
    if (y / 2 >= windows_h || x / 2 >= windows_w) {
      std::fill_n(row, conv.in_c, 0.0f);
      continue;
    }
    const int64_t window = ((n * windows_h + y / 2) * windows_w + x / 2) * conv.in_c;
    const int64_t pixel = ((n * conv.in_h + y) * conv.in_w + x) * conv.in_c;
    for_lanes(0, conv.in_c, [&](auto d, int64_t c) HWY_ATTR {
      const auto grad = hn::LoadU(d, conv.picture + window + c);
      if (conv.picture_choice) {
        hn::StoreU(chosen(d, conv.picture_choice + window + c, y % 2 * 2 + x % 2, grad), d, row + c);
      } else {
        const auto open = load_mask(d, conv.picture_positive, pixel + c);
        hn::StoreU(hn::IfThenElseZero(open, hn::Mul(grad, hn::Set(d, 0.25f))), d, row + c);
      }
    });
  }
}

}  // namespace minidl::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace minidl::cpu {

HWY_EXPORT(Output);
HWY_EXPORT(UnpooledRow);

void bf16_output(const Bf16Conv& conv, const Bf16Region& region, int64_t column, int64_t count, const float* sums) {
  MINIDL_DISPATCH(Output)(conv, region, column, count, sums);
}

void bf16_unpooled_row(const Bf16Conv& conv, int64_t n, int64_t y, int64_t begin, int64_t end, float* row) {
  MINIDL_DISPATCH(UnpooledRow)(conv, n, y, begin, end, row);
}

}  // namespace minidl::cpu
#endif
