#include <minidl/core/parallel.h>
#include <minidl/core/tensor.h>
#include <minidl/kernels/cpu/kernels.h>

#include <algorithm>
#include <vector>

namespace minidl::cpu {
namespace {

constexpr int64_t kLeastStrip = 32;  // rows of output that share running sums; at least as many as the window has

/// sums[i] += sign * row[i].
void add_row(int64_t count, double sign, const float* row, double* sums) {
  for (int64_t i = 0; i < count; ++i) sums[i] += sign * static_cast<double>(row[i]);
}

/// output[w,c] = scale * sum over x in [w - reach, w + reach] of column[x,c], where column [-reach - 1, width + reach)
/// is zero outside the picture.
void sum_across(int64_t width, int64_t channels, int64_t reach, double scale, const double* column, float* output) {
  for (int64_t c = 0; c < channels; ++c) {
    double sum = 0.0;
    for (int64_t x = 0; x < std::min(reach, width); ++x) sum += column[x * channels + c];
    for (int64_t w = 0; w < width; ++w) {
      sum += column[(w + reach) * channels + c] - column[(w - reach - 1) * channels + c];
      output[w * channels + c] = static_cast<float>(scale * sum);
    }
  }
}

/// Means of `input`. Calls finish(row, begin) for each row of `output` when it was written, with its first element's
/// number.
template <typename Finish>
void box_mean(const Shape& shape, int64_t width, const float* input, float* output, const Finish& finish) {
  const int64_t h = shape[1], w = shape[2], c = shape[3], row = w * c;
  const int64_t reach = std::min(width / 2, std::max(h, w));  // more pixels are all outside
  const double scale = 1.0 / (static_cast<double>(width) * static_cast<double>(width));
  const int64_t strip = std::max(kLeastStrip, 2 * reach), strips = (h + strip - 1) / strip;
  parallel_for(0, shape[0] * strips, 1, [&](int64_t task, int64_t) {
    const int64_t picture = task / strips * h, begin = task % strips * strip, end = std::min(h, begin + strip);
    std::vector<double> padded(static_cast<size_t>((w + 2 * reach + 1) * c));
    double* columns = padded.data() + (reach + 1) * c;  // [w, c], each the sum over the rows of the window
    const auto add = [&](int64_t y, double sign) {
      if (y >= 0 && y < h) add_row(row, sign, input + (picture + y) * row, columns);
    };
    for (int64_t y = begin - reach; y < begin + reach; ++y) add(y, 1.0);
    for (int64_t y = begin; y < end; ++y) {
      add(y + reach, 1.0);
      const int64_t at = (picture + y) * row;
      sum_across(w, c, reach, scale, columns, output + at);
      finish(output + at, at);
      add(y - reach, -1.0);
    }
  });
}

}  // namespace

void smooth(const Shape& shape, const Smoothing& how, const float* x, float* output) {
  Tensor means = Tensor::empty(shape);
  box_mean(shape, how.width, x, means.data<float>(), [](float*, int64_t) {});
  const int64_t row = shape[2] * shape[3];
  box_mean(shape, how.width, means.data<float>(), output, [&](float* values, int64_t begin) {
    for (int64_t i = 0; i < row; ++i) values[i] = how.factor * (x[begin + i] + how.strength * values[i]);
  });
}

void smooth_product(const Shape& shape, const Smoothing& how, const float* x, double* product) {
  Tensor smoothed = Tensor::empty(shape);
  smooth(shape, how, x, smoothed.data<float>());
  *product = dot(shape.count(), smoothed.data<float>(), x);
}

}  // namespace minidl::cpu
