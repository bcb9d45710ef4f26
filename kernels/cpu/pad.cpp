#include <minidl/core/parallel.h>
#include <minidl/kernels/cpu/kernels.h>

#include <algorithm>
#include <vector>

namespace minidl::cpu {
namespace {

int64_t row_grain(int64_t row) {
  return std::max<int64_t>(1, kGrain / std::max<int64_t>(1, row));
}

/// For every pixel of an axis, the positions of the padded axis that read it, in order.
std::vector<std::vector<int64_t>> readers_of(int64_t extent, int64_t before, int64_t after, Padding::Mode mode) {
  std::vector<std::vector<int64_t>> readers(static_cast<size_t>(extent));
  for (int64_t i = -before; i < extent + after; ++i) {
    const int64_t pixel = padded_index(i, extent, mode);
    if (pixel >= 0) readers[static_cast<size_t>(pixel)].push_back(i + before);
  }
  return readers;
}

}  // namespace

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
  parallel_for(0, shape[0] * out_h, row_grain(out_w * c), [&](int64_t begin, int64_t end) {
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

void pad_backward(const Shape& shape, const Padding& padding, const float* grad_output, const GradTarget& target) {
  const int64_t in_h = shape[1], in_w = shape[2], c = shape[3];
  const int64_t out_h = in_h + padding.top + padding.bottom, out_w = in_w + padding.left + padding.right;
  const auto rows = readers_of(in_h, padding.top, padding.bottom, padding.mode);
  const auto columns = readers_of(in_w, padding.left, padding.right, padding.mode);
  parallel_for(0, shape[0] * in_h, row_grain(in_w * c), [&](int64_t begin, int64_t end) {
    std::vector<float> sums(static_cast<size_t>(in_w * c));
    for (int64_t row = begin; row < end; ++row) {
      std::fill(sums.begin(), sums.end(), 0.0f);
      for (const int64_t h : rows[static_cast<size_t>(row % in_h)]) {
        const float* grad = grad_output + (row / in_h * out_h + h) * out_w * c;
        float* sum = sums.data();
        for (int64_t w = 0; w < in_w; ++w, sum += c) {
          for (const int64_t from : columns[static_cast<size_t>(w)]) {
            for (int64_t j = 0; j < c; ++j) sum[j] += grad[from * c + j];
          }
        }
      }
      accumulate_scaled(in_w * c, 1.0f, sums.data(), target.from(row * in_w * c));
    }
  });
}

}  // namespace minidl::cpu
