#include <minidl/core/parallel.h>
#include <minidl/core/tensor.h>
#include <minidl/kernels/cpu/bf16_conv.h>
#include <minidl/kernels/cpu/gemm_kernel.h>
#include <minidl/kernels/cpu/gram_amx.h>
#include <minidl/kernels/cpu/gram_kernel.h>

#include <algorithm>
#include <utility>

namespace minidl::cpu {
namespace {

constexpr int kParts = 2;
constexpr int64_t kBlock = kAmxBlock, kBlockCount = kAmxBlockCount;
constexpr int64_t kPart = kParts * kBlockCount;  // bf16 of a block of numbers
constexpr int64_t kPositions = 256;              // of the forward product whose parts are in the second cache
constexpr int64_t kRows = 128;                   // positions of a task of the backward product
constexpr int64_t kCachedBlocks = 4;             // of filters that stay in the first cache

/// Memory for blocks of numbers in parts.
Tensor empty_parts(int64_t blocks) {
  return Tensor::empty({blocks * kPart / 2});
}

/// Up to 32 rows and columns of a matrix with rows of `stride` as a block, zeros beyond them.
void copy_block(const float* values, int64_t stride, int64_t rows, int64_t columns, float* block) {
  if (rows < kBlock || columns < kBlock) std::fill_n(block, kBlockCount, 0.0f);
  if (columns == kBlock) {  // a row is two lines, copied without a call
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < kBlock; ++j) block[i * kBlock + j] = values[i * stride + j];
    }
  } else {
    for (int64_t i = 0; i < rows; ++i) std::copy_n(values + i * stride, columns, block + i * kBlock);
  }
}

}  // namespace

void gram_products_amx(const AmxBody& body, const float* features, int64_t positions, int64_t c, float* sums) {
  const int64_t channels = amx_blocks(c), stride = gram_stride(c);
  // Both operands are the features: channels by positions and positions by channels.
  Tensor left = empty_parts(channels * (kPositions / kBlock)), right = empty_parts(channels * (kPositions / kBlock));
  Tensor products = Tensor::zeros({channels, channels, kBlockCount});  // [row, column, 32, 32]
  for (int64_t first = 0; first < positions; first += kPositions) {
    const int64_t end = std::min(positions, first + kPositions), depth = amx_blocks(end - first);
    alignas(64) float block[kBlockCount], turned[kBlockCount];
    for (int64_t i = 0; i < channels * depth; ++i) {
      const int64_t channel = i / depth * kBlock, position = first + i % depth * kBlock;
      copy_block(features + position * c + channel, c, std::min(kBlock, end - position), std::min(kBlock, c - channel),
                 block);
      transpose(block, kBlock, kBlock, kBlock, turned, kBlock);
      body.split(turned, kBlock, kParts, bf16_bits(left) + i * kPart, kBlock);
      body.split_columns(block, kParts, bf16_bits(right) + i * kPart);
    }
    for (int64_t row = 0; row < channels; ++row) {
      body.multiply({.parts = kParts,
                     .rows = kBlock,
                     .depth = depth,
                     .depth_step = depth,
                     .columns = row + 1,
                     .a = bf16_bits(left) + row * depth * kPart,
                     .b = bf16_bits(right),
                     .c = products.data<float>() + row * channels * kBlockCount,
                     .c_rows = kBlock,
                     .add = true});
    }
  }
  for (int64_t i = 0; i < stride; ++i) {
    const float* row = products.data<float>() + i / kBlock * channels * kBlockCount + i % kBlock * kBlock;
    for (int64_t j = 0; j <= i; j += kBlock)
      std::copy_n(row + j / kBlock * kBlockCount, std::min(kBlock, stride - j), sums + i * stride + j);
  }
}

void gram_gradient_amx(const AmxBody& body, int64_t positions, int64_t c, const float* features, const float* s,
                       const GradTarget& target) {
  const int64_t channels = amx_blocks(c);
  Tensor matrix = empty_parts(channels * channels);
  parallel_for(0, channels * channels, 16, [&](int64_t begin, int64_t end) {
    alignas(64) float block[kBlockCount];
    for (int64_t i = begin; i < end; ++i) {
      const int64_t column = i / channels * kBlock, row = i % channels * kBlock;
      copy_block(s + row * c + column, c, std::min(kBlock, c - row), std::min(kBlock, c - column), block);
      body.split_columns(block, kParts, bf16_bits(matrix) + i * kPart);
    }
  });
  Bf16Conv conv;  // what is written
  conv.out_w = positions, conv.out_c = c;
  conv.lay_out_densely();
  conv.output = target.grad, conv.beta = target.beta, conv.relu_mask = target.relu_mask;
  parallel_for(0, positions, kRows, [&](int64_t begin, int64_t end) {
    const int64_t rows = amx_blocks(end - begin);
    Tensor left = empty_parts(rows * channels), products = Tensor::empty({channels, rows, kBlockCount});
    alignas(64) float block[kBlockCount];
    for (int64_t i = 0; i < rows * channels; ++i) {
      const int64_t position = begin + i / channels * kBlock, channel = i % channels * kBlock;
      copy_block(features + position * c + channel, c, std::min(kBlock, end - position), std::min(kBlock, c - channel),
                 block);
      body.split(block, kBlock, kParts, bf16_bits(left) + i * kPart, kBlock);
    }
    body.multiply({.parts = kParts,
                   .rows = end - begin,
                   .depth = channels,
                   .depth_step = kCachedBlocks,
                   .columns = channels,
                   .a = bf16_bits(left),
                   .b = reinterpret_cast<const uint16_t*>(std::as_const(matrix).data<float>()),
                   .c = products.data<float>(),
                   .c_rows = rows * kBlock});
    for (int64_t column = 0; column < c; column += kBlock)
      bf16_output(conv, {.n = 0, .h = 0, .w = begin, .rows = 1, .columns = end - begin, .pitch = 0}, column,
                  std::min(kBlock, c - column), products.data<float>() + column * rows * kBlock);
  });
}

}  // namespace minidl::cpu
