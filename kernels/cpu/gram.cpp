#include <minidl/core/parallel.h>
#include <minidl/kernels/cpu/gemm.h>
#include <minidl/kernels/cpu/gram_amx.h>
#include <minidl/kernels/cpu/gram_kernel.h>
#include <minidl/kernels/cpu/kernels.h>
#include <minidl/kernels/execution.h>

#include <algorithm>

namespace minidl::cpu {
namespace {

constexpr int64_t kBlock = 2048;        // positions whose products are summed in f32
constexpr int64_t kAmxPositions = 512;  // likewise, on tiles, where a task has all rows
constexpr int64_t kAmxForwardChannels = 256, kAmxBackwardChannels = 128;
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

/// Below the fp32 grade tiles do the products, where the processor has them and there are enough for each number that
/// is cut into parts.
bool uses_amx(int64_t c, int64_t least) {
  return c >= least && execution::precision() != Precision::fp32 && amx_available();
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

}  // namespace

void gram_forward(const GramShape& shape, const float* features, float* gram) {
  const int64_t c = shape.c, stride = gram_stride(c);
  if (c == 0) return;
  const bool amx = uses_amx(c, kAmxForwardChannels);
  const int64_t length = amx ? kAmxPositions : kBlock, blocks = (shape.positions + length - 1) / length;
  const int64_t held = std::clamp<int64_t>(kPartialFloats / (stride * stride), 1, kMostBlocks);
  const int64_t stripes = amx ? 1 : (stride + kRows - 1) / kRows;
  Tensor partials = Tensor::empty({std::min(held, blocks), stride, stride});
  Tensor sums = blocks == 0 ? Tensor::zeros({c, c}, Dtype::f64) : Tensor::empty({c, c}, Dtype::f64);
  float* partial = partials.data<float>();
  double* sum = sums.data<double>();
  for (int64_t n = 0; n < shape.n; ++n) {
    const float* picture = features + n * shape.positions * c;
    for (int64_t first = 0; first < blocks; first += held) {
      const int64_t count = std::min(blocks - first, held);
      parallel_for(0, count * stripes, 1, [&](int64_t task, int64_t) {
        const int64_t block = first + task % count, begin = block * length;
        const int64_t positions = std::min(length, shape.positions - begin);
        float* products = partial + (block - first) * stride * stride;
        if (amx) {
          gram_products_amx(amx_body(), picture + begin * c, positions, c, products);
        } else {
          const int64_t row = (stripes - 1 - task / count) * kRows;  // the longest rows first
          gram_products(picture + begin * c, positions, c, row, std::min(stride, row + kRows), products);
        }
      });
      add_partials(partial, count, c, first == 0, sum);
    }
    write_symmetric(sum, c, shape.scale, gram + n * c * c);
  }
}

std::vector<Number> gram_differences(std::span<const GramDifferenceArrays> terms) {
  std::vector<Number> squares;
  for (const GramDifferenceArrays& term : terms) {
    gram_forward(term.shape, term.features, term.difference);
    const int64_t n = term.shape.n, count = term.shape.c * term.shape.c;
    for (int64_t i = 0; i < n; ++i) {
      float* const own = term.difference + i * count;
      add_scaled(count, 1.0f, own, -1.0f, term.target + i * term.apart, own);
    }
    squares.push_back(squared_norm(n * count, term.difference));
    affine(n * count, term.factor, term.difference, 0.0f, term.difference);
  }
  return squares;
}

void add_transposed(int64_t n, int64_t c, const float* x, float* output) {
  for (int64_t matrix = 0; matrix < n * c * c; matrix += c * c) {
    parallel_for(0, c, 16, [&](int64_t begin, int64_t end) {
      transpose(x + matrix + begin, c, end - begin, c, output + matrix + begin * c, c);
      for (int64_t i = matrix + begin * c; i < matrix + end * c; ++i) output[i] += x[i];
    });
  }
}

void gram_backward_symmetric(const GramShape& shape, const GramGradientTensors& tensors, const GradTarget& target) {
  const auto *const features = tensors.features.data<float>(), *const matrix = tensors.matrix.data<float>();
  const int64_t c = shape.c;
  const bool amx = uses_amx(c, kAmxBackwardChannels);
  Tensor scaled = amx ? Tensor::empty({c, c}) : Tensor();
  for (int64_t n = 0; n < shape.n; ++n) {
    const float* const own = matrix + n * c * c;
    const int64_t picture = n * shape.positions * c;
    const GradTarget to = target.from(picture);
    if (amx) {
      affine(c * c, shape.scale, own, 0.0f, scaled.data<float>());
      gram_gradient_amx(amx_body(), shape.positions, c, features + picture, scaled.data<float>(), to);
      continue;
    }
    const GemmDesc desc{.m = shape.positions, .n = c, .k = c, .lda = c, .ldb = c, .ldc = c};
    gemm(desc, features + picture, own,
         {.c = to.grad, .relu_mask = to.relu_mask, .alpha = shape.scale, .beta = to.beta});
  }
}

}  // namespace minidl::cpu
