#include <minidl/core/error.h>
#include <minidl/kernels/cholesky.h>

#include <algorithm>
#include <cmath>

namespace minidl {

void cholesky(std::span<double> matrix, int64_t n) {
  MINIDL_CHECK(std::ssize(matrix) == n * n, "[cholesky] a matrix of {} values, it must have {}", matrix.size(), n * n);
  double* a = matrix.data();
  for (int64_t i = 0; i < n; ++i) {
    const double pivot = std::sqrt(std::max(a[i * n + i], 0.0));
    a[i * n + i] = pivot;
    for (int64_t j = i + 1; j < n; ++j) a[i * n + j] = pivot > 0 ? a[i * n + j] / pivot : 0.0;
    for (int64_t k = i + 1; k < n; ++k) {
      const double factor = a[i * n + k];
      for (int64_t j = k; j < n; ++j) a[k * n + j] -= factor * a[i * n + j];
    }
  }
}

void cholesky_solve(std::span<const double> r, int64_t n, std::span<double> x, int64_t rows) {
  MINIDL_CHECK(std::ssize(r) == n * n && std::ssize(x) == rows * n,
               "[cholesky] a factor of {} and a right-hand side of {} values, they must have {} and {}", r.size(),
               x.size(), n * n, rows * n);
  for (int64_t row = 0; row < rows; ++row) {
    double* value = x.data() + row * n;
    for (int64_t i = 0; i < n; ++i) {  // Rᵀ y = x
      const double pivot = r[static_cast<size_t>(i * n + i)];
      value[i] = pivot > 0 ? value[i] / pivot : 0.0;
      for (int64_t j = i + 1; j < n; ++j) value[j] -= r[static_cast<size_t>(i * n + j)] * value[i];
    }
    for (int64_t i = n - 1; i >= 0; --i) {  // R x = y
      for (int64_t j = i + 1; j < n; ++j) value[i] -= r[static_cast<size_t>(i * n + j)] * value[j];
      const double pivot = r[static_cast<size_t>(i * n + i)];
      value[i] = pivot > 0 ? value[i] / pivot : 0.0;
    }
  }
}

}  // namespace minidl
