#include <minidl/core/parallel.h>
#include <minidl/kernels/cpu/direct_bf16.h>
#include <minidl/kernels/cpu/gemm.h>
#include <minidl/kernels/cpu/gram_kernel.h>
#include <minidl/kernels/cpu/kernels.h>
#include <minidl/kernels/execution.h>

#include <algorithm>
#include <utility>

namespace minidl::cpu {
namespace {

constexpr int64_t kBlock = 2048;             // positions whose products are summed in f32
constexpr int64_t kRows = 128;               // of the Gram matrix in one task
constexpr int64_t kPartialFloats = 4 << 20;  // of all partial matrices that are held at a time
constexpr int64_t kMostBlocks = 256;         // whose partial matrices are held at a time

/// A row of sums, as far as the diagonal, gains those of the partial matrices in order; `fresh`: it held nothing yet.
void add_partials(const float* partials, int64_t blocks, int64_t c, bool fresh, double* sums) {
  const int64_t stride = gram_stride(c);
  parallel_for(0, c, std::max<int64_t>(1, kGrain / (c * blocks)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (fresh) std::fill_n(sums + i * c, i + 1, 0.0);
      for (int64_t block = 0; block < blocks; ++block) {
        const float* row = partials + (block * stride + i) * stride;
        for (int64_t j = 0; j <= i; ++j) sums[i * c + j] += static_cast<double>(row[j]);
      }
    }
  });
}

/// Both halves of gram [c, c] from the lower half of the sums.
void write_symmetric(const double* sums, int64_t c, double scale, float* gram) {
  parallel_for(0, c, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t j = 0; j <= i; ++j) gram[i * c + j] = static_cast<float>(scale * sums[i * c + j]);
      for (int64_t j = begin; j < i; ++j) gram[j * c + i] = gram[i * c + j];
    }
    transpose(gram + begin * c, c, begin, end - begin, gram + begin, c);
  });
}

/// output = scale * (x + its transpose), [c, c].
void add_transposed(const float* x, int64_t c, float scale, float* output) {
  parallel_for(0, c, 16, [&](int64_t begin, int64_t end) {
    transpose(x + begin, c, end - begin, c, output + begin * c, c);
    for (int64_t i = begin * c; i < end * c; ++i) output[i] = scale * (output[i] + x[i]);
  });
}

/// target += features * s for s [c, c], both rounded to bf16: a 1x1 convolution of `positions` pixels, in rows that fit
/// its regions and what is left.
void multiply_bf16(const AmxBody& body, int64_t positions, int64_t c, const float* features, const float* s,
                   const GradTarget& target) {
  constexpr int64_t kPixels = 128;  // of a row
  Bf16Conv conv;
  conv.in_c = conv.out_c = c;
  conv.weight = s, conv.k_stride = c, conv.c_stride = 1;
  conv.beta = target.beta;
  Tensor filters;
  const int64_t whole = positions / kPixels * kPixels;
  for (const auto& [begin, end] : {std::pair<int64_t, int64_t>{0, whole}, {whole, positions}}) {
    if (begin == end) continue;
    conv.in_w = conv.out_w = std::min(end - begin, kPixels);
    conv.in_h = conv.out_h = (end - begin) / conv.in_w;
    conv.lay_out_densely();
    conv.picture = features + begin * c;
    const GradTarget to = target.from(begin * c);
    conv.output = to.grad, conv.relu_mask = to.relu_mask;
    const DirectBf16 product(conv, body);
    if (!filters) {
      filters = Tensor::empty({product.filters_count() / 2});
      product.pack(reinterpret_cast<uint16_t*>(filters.data<float>()));
    }
    product.run(reinterpret_cast<const uint16_t*>(std::as_const(filters).data<float>()));
  }
}

}  // namespace

void gram_forward(const GramShape& shape, const float* features, float* gram) {
  const int64_t c = shape.c, stride = gram_stride(c), blocks = (shape.positions + kBlock - 1) / kBlock;
  if (c == 0) return;
  const int64_t held = std::clamp<int64_t>(kPartialFloats / (stride * stride), 1, kMostBlocks);
  const int64_t stripes = (stride + kRows - 1) / kRows;
  Tensor partials = Tensor::empty({std::min(held, blocks), stride, stride});
  Tensor sums = blocks == 0 ? Tensor::zeros({c, c}, Dtype::f64) : Tensor::empty({c, c}, Dtype::f64);
  float* partial = partials.data<float>();
  double* sum = sums.data<double>();
  for (int64_t n = 0; n < shape.n; ++n) {
    const float* picture = features + n * shape.positions * c;
    for (int64_t first = 0; first < blocks; first += held) {
      const int64_t count = std::min(blocks - first, held);
      parallel_for(0, count * stripes, 1, [&](int64_t task, int64_t) {
        const int64_t block = first + task % count;
        const int64_t row = (stripes - 1 - task / count) * kRows;  // the longest rows first
        gram_products(picture + block * kBlock * c, std::min(kBlock, shape.positions - block * kBlock), c, row,
                      std::min(stride, row + kRows), partial + (block - first) * stride * stride);
      });
      add_partials(partial, count, c, first == 0, sum);
    }
    write_symmetric(sum, c, shape.scale, gram + n * c * c);
  }
}

void gram_backward(const GramShape& shape, const float* features, const float* grad_gram, const GradTarget& target) {
  const int64_t c = shape.c;
  const AmxBody* bf16 = execution::precision() == Precision::bf16 ? bf16_body() : nullptr;
  Tensor symmetric = Tensor::empty({c, c});
  float* s = symmetric.data<float>();
  for (int64_t n = 0; n < shape.n; ++n) {
    add_transposed(grad_gram + n * c * c, c, bf16 ? shape.scale : 1.0f, s);
    const int64_t picture = n * shape.positions * c;
    const GradTarget to = target.from(picture);
    if (bf16) {
      multiply_bf16(*bf16, shape.positions, c, features + picture, s, to);
      continue;
    }
    const GemmDesc desc{.m = shape.positions, .n = c, .k = c, .lda = c, .ldb = c, .ldc = c};
    gemm(desc, features + picture, s, {.c = to.grad, .relu_mask = to.relu_mask, .alpha = shape.scale, .beta = to.beta});
  }
}

}  // namespace minidl::cpu
