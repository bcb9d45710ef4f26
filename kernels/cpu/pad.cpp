#include <minidl/kernels/cpu/simd.h>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "minidl/kernels/cpu/pad.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include <minidl/kernels/cpu/map-inl.h>

#include <algorithm>
#include <vector>

HWY_BEFORE_NAMESPACE();
namespace minidl::cpu::HWY_NAMESPACE {

/// For every pixel of an axis, the positions of the padded axis that read it, in order.
HWY_INLINE std::vector<std::vector<int64_t>> readers_of(int64_t extent, int64_t before, int64_t after,
                                                        Padding::Mode mode) {
  std::vector<std::vector<int64_t>> readers(static_cast<size_t>(extent));
  for (int64_t i = -before; i < extent + after; ++i) {
    const int64_t pixel = padded_index(i, extent, mode);
    if (pixel >= 0) readers[static_cast<size_t>(pixel)].push_back(i + before);
  }
  return readers;
}

void pad_backward(const Shape& shape, const Padding& padding, const float* grad_output, const GradTarget& target) {
  const int64_t in_h = shape[1], in_w = shape[2], c = shape[3];
  const int64_t out_h = in_h + padding.top + padding.bottom, out_row = (in_w + padding.left + padding.right) * c;
  const auto rows = readers_of(in_h, padding.top, padding.bottom, padding.mode);
  const auto columns = readers_of(in_w, padding.left, padding.right, padding.mode);
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, in_w * c));
  parallel_for(0, shape[0] * in_h, grain, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t row = begin; row < end; ++row) {
      const float* picture = grad_output + row / in_h * out_h * out_row;
      for (int64_t w = 0; w < in_w; ++w) {
        for_lanes(0, c, [&](auto d, int64_t channel) HWY_ATTR {
          auto sum = hn::Zero(d);
          for (const int64_t i : rows[static_cast<size_t>(row % in_h)]) {
            for (const int64_t j : columns[static_cast<size_t>(w)]) {
              sum = hn::Add(sum, hn::LoadU(d, picture + i * out_row + j * c + channel));
            }
          }
          store_grad(d, target, (row * in_w + w) * c + channel, sum);
        });
      }
    }
  });
}

}  // namespace minidl::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace minidl::cpu {

void pad_forward(const Shape& shape, const Padding& padding, const float* input, float* output) {
  const int64_t in_h = shape[1], in_w = shape[2], c = shape[3];
  const int64_t out_h = in_h + padding.top + padding.bottom, out_w = in_w + padding.left + padding.right;
  const auto copy_pixels = [&](const float* row, int64_t begin, int64_t end, float* pixel) {
    for (int64_t w = begin; w < end; ++w, pixel += c) {
      const int64_t from = padded_index(w, in_w, padding.mode);
      if (from < 0) {
        std::fill_n(pixel, c, 0.0f);
      } else {
        std::copy_n(row + from * c, c, pixel);
      }
    }
  };
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, out_w * c));
  parallel_for(0, shape[0] * out_h, grain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      float* out = output + row * out_w * c;
      const int64_t from = padded_index(row % out_h - padding.top, in_h, padding.mode);
      if (from < 0) {
        std::fill_n(out, out_w * c, 0.0f);
        continue;
      }
      const float* in = input + (row / out_h * in_h + from) * in_w * c;
      copy_pixels(in, -padding.left, 0, out);
      std::copy_n(in, in_w * c, out + padding.left * c);
      copy_pixels(in, in_w, in_w + padding.right, out + (padding.left + in_w) * c);
    }
  });
}

HWY_EXPORT(pad_backward);
void pad_backward(const Shape& shape, const Padding& padding, const float* grad_output, const GradTarget& target) {
  MINIDL_DISPATCH(pad_backward)(shape, padding, grad_output, target);
}

}  // namespace minidl::cpu
#endif  // HWY_ONCE
