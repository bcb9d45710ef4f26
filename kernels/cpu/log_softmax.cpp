#include <minidl/core/parallel.h>
#include <minidl/kernels/cpu/kernels.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace minidl::cpu {
namespace {

int64_t row_grain(int64_t length) {
  return std::max<int64_t>(1, kGrain / std::max<int64_t>(1, length));
}

}  // namespace

void log_softmax_forward(int64_t rows, int64_t length, const float* input, float* output) {
  parallel_for(0, rows, row_grain(length), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* x = input + row * length;
      const double largest = *std::max_element(x, x + length);
      double sum = 0.0;
      for (int64_t k = 0; k < length; ++k) sum += std::exp(x[k] - largest);
      const double log_sum = std::log(sum);
      for (int64_t j = 0; j < length; ++j) output[row * length + j] = static_cast<float>(x[j] - largest - log_sum);
    }
  });
}

void log_softmax_backward(int64_t rows, int64_t length, const float* output, const float* grad_output,
                          const GradTarget& target) {
  parallel_for(0, rows, row_grain(length), [&](int64_t begin, int64_t end) {
    std::vector<float> grad(static_cast<size_t>(length));
    for (int64_t row = begin; row < end; ++row) {
      const float *y = output + row * length, *g = grad_output + row * length;
      double sum = 0.0;
      for (int64_t k = 0; k < length; ++k) sum += g[k];
      for (int64_t j = 0; j < length; ++j) {
        grad[static_cast<size_t>(j)] = static_cast<float>(g[j] - std::exp(static_cast<double>(y[j])) * sum);
      }
      accumulate_scaled(length, 1.0f, grad.data(), target.from(row * length));
    }
  });
}

}  // namespace minidl::cpu
