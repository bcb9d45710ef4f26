#include <minidl/core/parallel.h>
#include <minidl/kernels/cpu/kernels.h>

#include <algorithm>
#include <vector>

namespace minidl::cpu {
namespace {

/// The pairs of neighbours in one row of one picture and with the row below it, in elements.
struct RowPairs {
  RowPairs(const TotalVariationForm& form, int64_t row)
      : above(row % form.h > 0 ? below_count(form) : 0),
        below(row % form.h + 1 < form.h ? below_count(form) : 0),
        right(form.interior && row % form.h + 1 == form.h ? 0 : (form.w - 1) * form.c) {}

  static int64_t below_count(const TotalVariationForm& form) { return (form.interior ? form.w - 1 : form.w) * form.c; }

  int64_t above, below, right;  // the first `above` elements have a pair with the row above, ...
};

}  // namespace

Number total_variation(const TotalVariationForm& form, const float* x) {
  const int64_t rows = form.n * form.h, stride = form.w * form.c;
  if (stride == 0) return 0.0;
  std::vector<double> row_sums(static_cast<size_t>(rows));
  parallel_for(0, rows, std::max<int64_t>(1, kGrain / stride), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const RowPairs pairs(form, i);
      const float* row = x + i * stride;
      row_sums[static_cast<size_t>(i)] = squared_distance(pairs.right, row, row + form.c).get() +
                                         (pairs.below ? squared_distance(pairs.below, row, row + stride).get() : 0.0);
    }
  });
  double total = 0.0;
  for (const double sum : row_sums) total += sum;
  return total;
}

void total_variation_backward(const TotalVariationForm& form, const float* x, float factor, const GradTarget& target) {
  const int64_t rows = form.n * form.h, stride = form.w * form.c;
  if (stride == 0) return;
  parallel_for(0, rows, std::max<int64_t>(1, kGrain / stride), [&](int64_t begin, int64_t end) {
    std::vector<float> slope(static_cast<size_t>(stride));
    for (int64_t i = begin; i < end; ++i) {
      const RowPairs pairs(form, i);
      const float* row = x + i * stride;
      float* __restrict sum = slope.data();
      std::fill(slope.begin(), slope.end(), 0.0f);
      for (int64_t j = 0; j < pairs.above; ++j) sum[j] += row[j] - row[j - stride];
      for (int64_t j = 0; j < pairs.below; ++j) sum[j] += row[j] - row[j + stride];
      for (int64_t j = 0; j < pairs.right; ++j) sum[j] += row[j] - row[j + form.c];
      for (int64_t j = 0; j < pairs.right; ++j) sum[j + form.c] += row[j + form.c] - row[j];
      accumulate_scaled(stride, factor, sum, target.from(i * stride));
    }
  });
}

Number total_variation_and_gradient(const TotalVariationForm& form, const float* x, float factor, float* gradient) {
  total_variation_backward(form, x, factor, {gradient, 0.0f});
  return total_variation(form, x);
}

}  // namespace minidl::cpu
