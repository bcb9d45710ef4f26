#include <minidl/kernels/checks.h>
#include <minidl/kernels/cpu/kernels.h>

#include <algorithm>
#include <type_traits>

namespace minidl::cpu {
namespace {

/// output[j, i] = x[i]'y[j].
void products(std::span<const Tensor> x, std::span<const float* const> y, double* output) {
  with_pointers(x, [&]<typename T>(const std::vector<const T*>& vectors) {
    if constexpr (std::is_same_v<T, float>) {
      dots(x.front().count(), vectors, y, output);
    } else {
      dots_bf16(x.front().count(), vectors, y, output);
    }
  });
}

}  // namespace

void lbfgs_first_loop(std::span<const Tensor> s, const float* gradient, const float* newest_y, int64_t pitch,
                      double* columns, double* a) {
  const auto pairs = std::ssize(s);
  const float* const vectors[] = {gradient, newest_y};
  std::vector<double> both(static_cast<size_t>(2 * pairs));
  products(s, std::span(vectors).first(newest_y ? 2 : 1), both.data());
  std::copy_n(both.begin(), pairs, a);
  if (newest_y) std::copy_n(both.begin() + pairs, pairs, columns + (pairs - 1) * pitch);
  for (int64_t j = pairs; j-- > 0;) {
    const double* const column = columns + j * pitch;
    a[j] /= column[j];
    for (int64_t i = 0; i < j; ++i) a[i] -= a[j] * column[i];
  }
}

void lbfgs_second_loop(std::span<const Tensor> y, const float* r, int64_t pitch, const double* columns, const double* a,
                       double* b) {
  products(y, {&r, 1}, b);
  for (int64_t j = 0; j < std::ssize(y); ++j) {
    const double* const column = columns + j * pitch;
    double rest = -column[j] * a[j] - b[j];
    for (int64_t i = 0; i < j; ++i) rest -= b[i] * column[i];
    b[j] = rest / column[j];
  }
}

void lbfgs_direction(std::span<const Tensor> s, const float* x, const double* b, const SearchStartArrays& search) {
  const auto& [count, gradient, start, direction, position, result] = search;
  if (!s.empty() && s.front().dtype() == Dtype::bf16) {
    combination_bf16(count, 1.0f, x, b, pointers<uint16_t>(s), direction);
  } else {
    combination(count, 1.0f, x, b, pointers<float>(s), direction);
  }
  add_scaled(count, 1.0f, start, 1.0f, direction, position);
  const float *const along[] = {gradient, direction}, *const of_direction[] = {direction};
  dots(count, along, of_direction, result);
}

}  // namespace minidl::cpu
