#include <minidl/core/parallel.h>
#include <minidl/kernels/cpu/kernels.h>

#include <algorithm>
#include <vector>

namespace minidl::cpu {
namespace {

constexpr int64_t kBlock = 2048;  // positions whose products are summed in f32

/// partial[i,j] = sum over `positions` of features[p,i] * features[p,j] for j <= i.
void lower_products(const float* features, int64_t positions, int64_t c, float* __restrict partial) {
  std::fill(partial, partial + c * c, 0.0f);
  for (int64_t p = 0; p < positions; ++p) {
    const float* row = features + p * c;
    for (int64_t i = 0; i < c; ++i) {
      for (int64_t j = 0; j <= i; ++j) partial[i * c + j] += row[i] * row[j];
    }
  }
}

}  // namespace

void gram_forward(const GramShape& shape, const float* features, float* gram) {
  const int64_t c = shape.c, blocks = (shape.positions + kBlock - 1) / kBlock;
  std::vector<float> partials(static_cast<size_t>(blocks * c * c));
  for (int64_t n = 0; n < shape.n; ++n) {
    const float* picture = features + n * shape.positions * c;
    parallel_for(0, blocks, 1, [&](int64_t block, int64_t) {
      const int64_t positions = std::min(kBlock, shape.positions - block * kBlock);
      lower_products(picture + block * kBlock * c, positions, c, partials.data() + block * c * c);
    });
    for (int64_t i = 0; i < c; ++i) {
      for (int64_t j = 0; j <= i; ++j) {
        double sum = 0.0;
        for (int64_t block = 0; block < blocks; ++block) sum += partials[static_cast<size_t>((block * c + i) * c + j)];
        gram[(n * c + i) * c + j] = gram[(n * c + j) * c + i] = static_cast<float>(shape.scale * sum);
      }
    }
  }
}

void gram_backward(const GramShape& shape, const float* features, const float* grad_gram, const GradTarget& target) {
  const int64_t c = shape.c;
  std::vector<float> symmetric(static_cast<size_t>(c * c));
  for (int64_t n = 0; n < shape.n; ++n) {
    const float* grad = grad_gram + n * c * c;
    for (int64_t i = 0; i < c; ++i) {
      for (int64_t j = 0; j < c; ++j)
        symmetric[static_cast<size_t>(i * c + j)] = shape.scale * (grad[i * c + j] + grad[j * c + i]);
    }
    parallel_for(0, shape.positions, 64, [&](int64_t begin, int64_t end) {
      std::vector<float> row(static_cast<size_t>(c));
      for (int64_t p = begin; p < end; ++p) {
        const int64_t at = (n * shape.positions + p) * c;
        std::fill(row.begin(), row.end(), 0.0f);
        for (int64_t j = 0; j < c; ++j) {
          for (int64_t i = 0; i < c; ++i)
            row[static_cast<size_t>(i)] += features[at + j] * symmetric[static_cast<size_t>(j * c + i)];
        }
        accumulate_scaled(c, 1.0f, row.data(), target.from(at));
      }
    });
  }
}

}  // namespace minidl::cpu
