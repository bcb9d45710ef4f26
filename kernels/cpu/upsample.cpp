#include <minidl/kernels/cpu/simd.h>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "minidl/kernels/cpu/upsample.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include <minidl/kernels/cpu/map-inl.h>

#include <algorithm>

HWY_BEFORE_NAMESPACE();
namespace minidl::cpu::HWY_NAMESPACE {

void upsample_nearest_backward(const Shape& shape, int64_t factor, const float* grad_output, const GradTarget& target) {
  const int64_t width = shape[2], c = shape[3], out_row = width * factor * c;
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, out_row * factor));
  parallel_for(0, shape[0] * shape[1], grain, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t w = 0; w < width; ++w) {
        const float* block = grad_output + row * factor * out_row + w * factor * c;
        for_lanes(0, c, [&](auto d, int64_t channel) HWY_ATTR {
          auto sum = hn::Zero(d);
          for (int64_t i = 0; i < factor; ++i) {
            for (int64_t j = 0; j < factor; ++j) {
              sum = hn::Add(sum, hn::LoadU(d, block + i * out_row + j * c + channel));
            }
          }
          store_grad(d, target, (row * width + w) * c + channel, sum);
        });
      }
    }
  });
}

}  // namespace minidl::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace minidl::cpu {

void upsample_nearest_forward(const Shape& shape, int64_t factor, const float* input, float* output) {
  const int64_t width = shape[2], c = shape[3], out_row = width * factor * c;
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, out_row * factor));
  parallel_for(0, shape[0] * shape[1], grain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* pixel = input + row * width * c;
      float* first = output + row * factor * out_row;
      for (int64_t w = 0; w < width; ++w, pixel += c) {
        for (int64_t j = 0; j < factor; ++j) std::copy_n(pixel, c, first + (w * factor + j) * c);
      }
      for (int64_t i = 1; i < factor; ++i) std::copy_n(first, out_row, first + i * out_row);
    }
  });
}

HWY_EXPORT(upsample_nearest_backward);
void upsample_nearest_backward(const Shape& shape, int64_t factor, const float* grad_output, const GradTarget& target) {
  MINIDL_DISPATCH(upsample_nearest_backward)(shape, factor, grad_output, target);
}

}  // namespace minidl::cpu
#endif  // HWY_ONCE
