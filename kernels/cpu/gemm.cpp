#include <minidl/kernels/cpu/gemm.h>

#include <algorithm>

namespace minidl::cpu {

void gemm(const GemmDesc& desc, const float* a, const float* b, const GemmEpilogue& epilogue) {
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

}  // namespace minidl::cpu
