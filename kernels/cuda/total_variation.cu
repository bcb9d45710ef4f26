#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/cuda/map.cuh>
#include <minidl/kernels/cuda/reduce.cuh>

// Total variation: a sum over elements of squared differences to the neighbours on the right and below, and its
// gradient, an element of which depends on four neighbours. Traffic: the picture once forward, it and the gradient once
// backward; neighbours come from caches.
namespace minidl::cuda {
namespace {

/// Where element i lies, and which pairs it begins or ends.
struct Pairs {
  bool left, right, above, below;
};
template <typename Index>
MINIDL_DEVICE Pairs pairs_of(const TotalVariationForm& form, int64_t i) {
  const Index c = static_cast<Index>(form.c), w = static_cast<Index>(form.w), h = static_cast<Index>(form.h);
  const Index pixel = static_cast<Index>(i) / c, column = pixel % w, row = pixel / w % h;
  const bool in_column = !form.interior || column + 1 < w, in_row = !form.interior || row + 1 < h;
  return {column > 0 && in_row, column + 1 < w && in_row, row > 0 && in_column, row + 1 < h && in_column};
}

template <typename Index>
struct Variation {
  const float* x;
  TotalVariationForm form;
  MINIDL_DEVICE double operator()(int64_t, int64_t i) const {
    const Pairs pairs = pairs_of<Index>(form, i);
    const double value = static_cast<double>(load(x + i));
    double sum = 0.0;
    if (pairs.right) {
      const double difference = static_cast<double>(load(x + i + form.c)) - value;
      sum = difference * difference;
    }
    if (pairs.below) {
      const double difference = static_cast<double>(load(x + i + form.w * form.c)) - value;
      sum += difference * difference;
    }
    return sum;
  }
};

template <typename Index>
struct VariationGradient {
  const float* x;
  TotalVariationForm form;
  float factor;
  MINIDL_DEVICE float operator()(int64_t i, const float (&value)[1]) const {
    const Pairs pairs = pairs_of<Index>(form, i);
    const int64_t line = form.w * form.c;
    float sum = pairs.above ? value[0] - load(x + i - line) : 0.0f;
    if (pairs.below) sum += value[0] - load(x + i + line);
    if (pairs.right) sum += value[0] - load(x + i + form.c);
    if (pairs.left) sum += value[0] - load(x + i - form.c);
    return factor * sum;
  }
};

/// Writes the gradient as it goes.
template <typename Index>
struct VariationAndGradient {
  Variation<Index> variation;
  VariationGradient<Index> slope;
  float* gradient;
  MINIDL_DEVICE double operator()(int64_t row, int64_t i) const {
    const float value[1] = {load(slope.x + i)};
    store(gradient + i, slope(i, value));
    return variation(row, i);
  }
};

int64_t count_of(const TotalVariationForm& form) {
  return form.n * form.h * form.w * form.c;
}

}  // namespace

Number total_variation(const TotalVariationForm& form, const float* x) {
  Number total = 0.0;
  with_index(count_of(form), [&](auto index) { total = reduced(count_of(form), Variation<decltype(index)>{x, form}); });
  return total;
}

Number total_variation_and_gradient(const TotalVariationForm& form, const float* x, float factor, float* gradient) {
  Number total = 0.0;
  with_index(count_of(form), [&](auto index) {
    using Index = decltype(index);
    total = reduced(count_of(form), VariationAndGradient<Index>{{x, form}, {x, form, factor}, gradient});
  });
  return total;
}

void total_variation_backward(const TotalVariationForm& form, const float* x, float factor, const GradTarget& target) {
  with_index(count_of(form), [&](auto index) {
    map<1>(count_of(form), {{x}}, VariationGradient<decltype(index)>{x, form, factor}, GradientOutput{target}, false);
  });
}

}  // namespace minidl::cuda
