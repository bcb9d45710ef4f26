#include <minidl/core/parallel.h>
#include <minidl/kernels/cpu/gemm.h>
#include <minidl/kernels/cpu/kernels.h>

#include <algorithm>

namespace minidl::cpu {
namespace {

constexpr int64_t kBlock = 2048;             // positions whose products are summed in f32
constexpr int64_t kPanel = 128;              // rows of the Gram matrix per product: only those up to the diagonal
constexpr int64_t kPartialFloats = 4 << 20;  // of all partial matrices that are held at a time
constexpr int64_t kMostBlocks = 32;          // partial matrices held at a time

/// The lower panels of sum over `positions` of features[p,i] * features[p,j].
void lower_products(const float* features, int64_t positions, int64_t c, float* partial) {
  for (int64_t row = 0; row < c; row += kPanel) {
    const int64_t rows = std::min(kPanel, c - row);
    const GemmDesc desc{.m = rows, .n = row + rows, .k = positions, .transpose_a = true, .lda = c, .ldb = c, .ldc = c};
    gemm(desc, features + row, features, {.c = partial + row * c});
  }
}

/// sums += the partial matrices in order, on and below the diagonal.
void add_partials(const float* partials, int64_t blocks, int64_t c, double* sums) {
  parallel_for(0, c, std::max<int64_t>(1, kGrain / (c * blocks)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t block = 0; block < blocks; ++block) {
        const float* row = partials + (block * c + i) * c;
        for (int64_t j = 0; j <= i; ++j) sums[i * c + j] += row[j];
      }
    }
  });
}

}  // namespace

void gram_forward(const GramShape& shape, const float* features, float* gram) {
  const int64_t c = shape.c, blocks = (shape.positions + kBlock - 1) / kBlock;
  if (c == 0) return;
  const int64_t held =
      std::clamp<int64_t>(kPartialFloats / (c * c), 1, std::min(kMostBlocks, std::max<int64_t>(1, blocks)));
  Tensor partials = Tensor::empty({held, c, c}), sums = Tensor::empty({c, c}, Dtype::f64);
  float* partial = partials.data<float>();
  double* sum = sums.data<double>();
  for (int64_t n = 0; n < shape.n; ++n) {
    const float* picture = features + n * shape.positions * c;
    std::fill_n(sum, c * c, 0.0);
    for (int64_t first = 0; first < blocks; first += held) {
      const int64_t last = std::min(blocks, first + held);
      parallel_for(first, last, 1, [&](int64_t block, int64_t) {
        const int64_t positions = std::min(kBlock, shape.positions - block * kBlock);
        lower_products(picture + block * kBlock * c, positions, c, partial + (block - first) * c * c);
      });
      add_partials(partial, last - first, c, sum);
    }
    for (int64_t i = 0; i < c; ++i) {
      for (int64_t j = 0; j <= i; ++j) {
        gram[(n * c + i) * c + j] = gram[(n * c + j) * c + i] = static_cast<float>(shape.scale * sum[i * c + j]);
      }
    }
  }
}

void gram_backward(const GramShape& shape, const float* features, const float* grad_gram, const GradTarget& target) {
  const int64_t c = shape.c;
  Tensor symmetric = Tensor::empty({c, c});
  float* s = symmetric.data<float>();
  for (int64_t n = 0; n < shape.n; ++n) {
    const float* grad = grad_gram + n * c * c;
    for (int64_t i = 0; i < c; ++i) {
      for (int64_t j = 0; j <= i; ++j) s[i * c + j] = s[j * c + i] = grad[i * c + j] + grad[j * c + i];
    }
    const int64_t picture = n * shape.positions * c;
    const GradTarget to = target.from(picture);
    const GemmDesc desc{.m = shape.positions, .n = c, .k = c, .lda = c, .ldb = c, .ldc = c};
    gemm(desc, features + picture, s, {.c = to.grad, .relu_mask = to.relu_mask, .alpha = shape.scale, .beta = to.beta});
  }
}

}  // namespace minidl::cpu
