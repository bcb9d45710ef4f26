#include <minidl/kernels/cpu/gemm.h>
#include <minidl/kernels/cpu/kernels.h>
#include <minidl/kernels/cpu/window_products.h>

#include <algorithm>

namespace minidl::cpu {
namespace {

constexpr int64_t kLongSum = 8;  // k of a result that is much smaller than its operands

/// Aᵀ B of matrices without gaps and a long k is the gradient of the filters of a 1x1 convolution of k pixels.
bool is_long_sum(const GemmDesc& desc, const GemmEpilogue& epilogue) {
  const bool plain = epilogue.alpha == 1.0f && !epilogue.bias && !epilogue.relu && !epilogue.relu_mask;
  const bool dense = desc.lda == desc.m && desc.ldb == desc.n && desc.ldc == desc.n;
  return desc.transpose_a && !desc.transpose_b && plain && dense && std::min(desc.m, desc.n) > 0 &&
         desc.k >= kLongSum * std::max(desc.m, desc.n);
}

}  // namespace

void gemm(const GemmDesc& desc, const float* a, const float* b, const GemmEpilogue& epilogue) {
  if (is_long_sum(desc, epilogue)) {
    const Windows pixels{.picture = b, .in_w = desc.k, .c = desc.n, .out_w = desc.k};
    window_products({pixels, desc.k, a, desc.m, epilogue.beta, epilogue.c});
    return;
  }
  PackedGemm product{.m = desc.m, .n = desc.n, .k = desc.k, .copied = desc.transpose_a};
  product.read_rows = [&](const GemmRows& to) {
    if (desc.transpose_a) {
      transpose_rows(a + to.k * desc.lda + to.row, desc.lda, to);
    } else {
      for (int64_t i = 0; i < to.rows; ++i) to.values[i] = a + (to.row + i) * desc.lda + to.k;
    }
  };
  product.pack_columns = [&](int64_t k, int64_t depth, int64_t column, int64_t columns, float* output, int64_t stride) {
    if (desc.transpose_b) {
      transpose(b + column * desc.ldb + k, desc.ldb, depth, columns, output, stride);
    } else {
      for (int64_t i = 0; i < depth; ++i) std::copy_n(b + (k + i) * desc.ldb + column, columns, output + i * stride);
    }
  };
  product.row_offset = [&](int64_t row) { return row * desc.ldc; };
  product.epilogue = epilogue;
  packed_gemm(product);
}

void matrix_product(const GemmDesc& desc, const float* a, const float* b, const float* bias, const GradTarget& target) {
  gemm(desc, a, b,
       {.c = target.grad, .relu_mask = target.relu_mask, .bias = bias, .alpha = desc.alpha, .beta = target.beta});
}

}  // namespace minidl::cpu
