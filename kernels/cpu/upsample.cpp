#include <minidl/core/parallel.h>
#include <minidl/kernels/cpu/kernels.h>

#include <algorithm>
#include <vector>

namespace minidl::cpu {
namespace {

/// Rows of the small picture per chunk.
int64_t row_grain(const Shape& shape, int64_t factor) {
  return std::max<int64_t>(1, kGrain / std::max<int64_t>(1, shape[2] * shape[3] * factor * factor));
}

}  // namespace

void upsample_nearest_forward(const Shape& shape, int64_t factor, const float* input, float* output) {
  const int64_t width = shape[2], c = shape[3], out_row = width * factor * c;
  parallel_for(0, shape[0] * shape[1], row_grain(shape, factor), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      float* first = output + row * factor * out_row;
      for (int64_t w = 0; w < width * factor; ++w)
        std::copy_n(input + (row * width + w / factor) * c, c, first + w * c);
      for (int64_t i = 1; i < factor; ++i) std::copy_n(first, out_row, first + i * out_row);
    }
  });
}

void upsample_nearest_backward(const Shape& shape, int64_t factor, const float* grad_output, const GradTarget& target) {
  const int64_t width = shape[2], c = shape[3], out_row = width * factor * c;
  parallel_for(0, shape[0] * shape[1], row_grain(shape, factor), [&](int64_t begin, int64_t end) {
    std::vector<float> sums(static_cast<size_t>(width * c));
    for (int64_t row = begin; row < end; ++row) {
      std::fill(sums.begin(), sums.end(), 0.0f);
      for (int64_t i = 0; i < factor; ++i) {
        const float* grad = grad_output + (row * factor + i) * out_row;
        for (int64_t w = 0; w < width * factor; ++w) {
          float* sum = sums.data() + w / factor * c;
          for (int64_t j = 0; j < c; ++j) sum[j] += grad[w * c + j];
        }
      }
      accumulate_scaled(width * c, 1.0f, sums.data(), target.from(row * width * c));
    }
  });
}

}  // namespace minidl::cpu
