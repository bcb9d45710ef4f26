#include <minidl/kernels/cpu/simd.h>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "minidl/kernels/cpu/upsample_conv2d_passes.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include <minidl/kernels/cpu/map-inl.h>
#include <minidl/kernels/cpu/upsample_conv2d.h>

#include <algorithm>

HWY_BEFORE_NAMESPACE();
namespace minidl::cpu::HWY_NAMESPACE {

/// Channels of a pixel, or zeros.
struct Pixel {
  const float* at;
  template <class D>
  HWY_INLINE hn::Vec<D> load(D d, int64_t c) const {
    return at ? hn::LoadU(d, at + c) : hn::Zero(d);
  }
};

template <bool kSubtracted, class V>
HWY_INLINE V joined(V a, V b) {
  return kSubtracted ? hn::Sub(a, b) : hn::Add(a, b);
}

template <bool kRowsSubtracted, bool kColumnsSubtracted>
void combine_run(const PixelSums& sums, const PixelRun& run, float* output, int64_t stride) {
  const auto pixel = [&](int64_t row, int64_t column) {
    const bool none = row < 0 || column < 0;
    return Pixel{none ? nullptr : sums.picture + (row * sums.width + column) * sums.channels + run.from};
  };
  const int64_t first_row = sums.rows.first_of(run.i), second_row = sums.rows.second_of(run.i);
  for (int64_t p = 0; p < run.pixels; ++p, output += stride) {
    const int64_t first = sums.columns.first_of(run.j + p), second = sums.columns.second_of(run.j + p);
    const Pixel a = pixel(first_row, first), b = pixel(first_row, second), c = pixel(second_row, first),
                e = pixel(second_row, second);
    for_lanes(0, run.count, [&](auto d, int64_t i) HWY_ATTR {
      const auto above = joined<kColumnsSubtracted>(a.load(d, i), b.load(d, i));
      const auto below = joined<kColumnsSubtracted>(c.load(d, i), e.load(d, i));
      hn::StoreU(joined<kRowsSubtracted>(above, below), d, output + i);
    });
  }
}

void Combine(const PixelSums& sums, const PixelRun& run, float* output, int64_t stride) {
  const auto function = sums.rows.subtracted
                            ? (sums.columns.subtracted ? &combine_run<true, true> : &combine_run<true, false>)
                            : (sums.columns.subtracted ? &combine_run<false, true> : &combine_run<false, false>);
  function(sums, run, output, stride);
}

void Differences(const UpsampleConv2dDesc& desc, const float* picture, const UpsampleRegion& region,
                 float* differences) {
  const bool zero = desc.padding == Padding::Mode::zero;
  const auto pixel = [&](int64_t i, int64_t j) {
    const int64_t row = std::clamp<int64_t>(i, 0, desc.in_h - 1), column = std::clamp<int64_t>(j, 0, desc.in_w - 1);
    const bool outside = row != i || column != j;
    return Pixel{zero && outside ? nullptr : picture + (row * desc.in_w + column) * desc.in_c};
  };
  float *along_h = differences, *along_w = along_h + region.differences() * desc.in_c,
        *along_both = along_w + region.differences() * desc.in_c;
  for (int64_t i = region.row; i <= region.row + region.rows; ++i) {
    for (int64_t j = region.column; j <= region.column + region.columns; ++j) {
      const Pixel here = pixel(i, j), above = pixel(i - 1, j), left = pixel(i, j - 1), corner = pixel(i - 1, j - 1);
      for_lanes(0, desc.in_c, [&](auto d, int64_t c) HWY_ATTR {
        const auto x = here.load(d, c), up = above.load(d, c), side = left.load(d, c);
        const auto difference = hn::Sub(side, x);
        hn::StoreU(hn::Sub(up, x), d, along_h + c);
        hn::StoreU(difference, d, along_w + c);
        hn::StoreU(hn::Sub(hn::Sub(corner.load(d, c), up), difference), d, along_both + c);
      });
      along_h += desc.in_c, along_w += desc.in_c, along_both += desc.in_c;
    }
  }
}

void Output(const UpsampleConv2dDesc& desc, const UpsampleRegion& region, const UpsampleSums& sums, const float* bias,
            float* output) {
  const int64_t k = desc.out_c, row = 2 * desc.in_w * k;
  const float* pixel_sums = sums.sums;
  for (int64_t i = region.row; i < region.row + region.rows; ++i) {
    float* first = output + 2 * i * row + 2 * region.column * k;
    for (int64_t j = 0; j < region.columns; ++j, pixel_sums += sums.stride, first += 2 * k) {
      for_lanes(0, k, [&](auto d, int64_t c) HWY_ATTR {
        const auto sum = [&](int64_t filter) HWY_ATTR { return hn::LoadU(d, pixel_sums + filter * sums.plane + c); };
        const auto all = bias ? hn::Add(sum(0), hn::LoadU(d, bias + c)) : sum(0);
        const auto left = sum(1), right = sum(2), top = hn::Add(all, sum(3)), bottom = hn::Add(all, sum(6));
        hn::StoreU(hn::Add(hn::Add(top, left), sum(4)), d, first + c);
        hn::StoreU(hn::Add(hn::Add(top, right), sum(5)), d, first + k + c);
        hn::StoreU(hn::Add(hn::Add(bottom, left), sum(7)), d, first + row + c);
        hn::StoreU(hn::Add(hn::Add(bottom, right), sum(8)), d, first + row + k + c);
      });
    }
  }
}

}  // namespace minidl::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace minidl::cpu {

HWY_EXPORT(Combine);
HWY_EXPORT(Differences);
HWY_EXPORT(Output);

void combine_pixels(const PixelSums& sums, const PixelRun& run, float* output, int64_t stride) {
  MINIDL_DISPATCH(Combine)(sums, run, output, stride);
}
void upsample_differences(const UpsampleConv2dDesc& desc, const float* picture, const UpsampleRegion& region,
                          float* differences) {
  MINIDL_DISPATCH(Differences)(desc, picture, region, differences);
}
void upsample_output(const UpsampleConv2dDesc& desc, const UpsampleRegion& region, const UpsampleSums& sums,
                     const float* bias, float* output) {
  MINIDL_DISPATCH(Output)(desc, region, sums, bias, output);
}

}  // namespace minidl::cpu
#endif  // HWY_ONCE
