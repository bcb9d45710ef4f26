#include <minidl/kernels/cpu/gemm_kernel.h>

#include <algorithm>

// Vectors are kept in arrays, which those of unknown length cannot be: machines with SVE run the NEON code.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "minidl/kernels/cpu/gemm_kernel.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace minidl::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
// The sums of a tile, a row of B and one element of A live in registers: 32 of them with AVX-512 and NEON, 16
// elsewhere. Wide tiles need fewer loads for a product, so three vectors are the rule where they fit.
constexpr bool kManyRegisters = HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL || HWY_ARCH_ARM;
constexpr int kMaxVectors = kManyRegisters ? 3 : 2;
constexpr int kRowStep = kManyRegisters ? 4 : 2;  // heights of tiles are multiples of it
constexpr int kMaxRows = kRowStep * 3;
static_assert(kRowStep - 1 <= kGemmRowSlack);

/// Rows of a tile that is `vectors` wide.
constexpr int tile_rows(int vectors) {
  return vectors == 3 ? 2 * kRowStep : kMaxRows;
}

/// tile[i, j] = sum over k of a[i, k] * b[k, j]; a [kRows, depth], b [depth, kVectors * kLanes], tile [kRows, kVectors
/// * kLanes].
template <int kRows, int kVectors>
HWY_NOINLINE HWY_ATTR void ComputeTile(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b, int64_t depth,
                                       float* HWY_RESTRICT tile) {
  constexpr int kWidth = kVectors * kLanes;
  const D d;
  hn::Vec<D> sum[kRows][kVectors];
  HWY_UNROLL(12)
  for (int i = 0; i < kRows; ++i) {
    HWY_UNROLL(3)
    for (int v = 0; v < kVectors; ++v) sum[i][v] = hn::Zero(d);
  }
  for (int64_t k = 0; k < depth; ++k) {
    hn::Vec<D> row[kVectors];
    HWY_UNROLL(3)
    for (int v = 0; v < kVectors; ++v) row[v] = hn::Load(d, b + k * kWidth + v * kLanes);
    HWY_UNROLL(12)
    for (int i = 0; i < kRows; ++i) {
      const hn::Vec<D> element = hn::Set(d, a[i * depth + k]);
      HWY_UNROLL(3)
      for (int v = 0; v < kVectors; ++v) sum[i][v] = hn::MulAdd(element, row[v], sum[i][v]);
    }
  }
  HWY_UNROLL(12)
  for (int i = 0; i < kRows; ++i) {
    HWY_UNROLL(3)
    for (int v = 0; v < kVectors; ++v) hn::Store(sum[i][v], d, tile + i * kWidth + v * kLanes);
  }
}

using TileFunction = void (*)(const float*, const float*, int64_t, float*);

/// The narrowest kernel for this many rows (rounded up) and vectors.
TileFunction tile_function(int64_t rows, int vectors) {
  static constexpr TileFunction kFunctions[3][3] = {
      {&ComputeTile<kRowStep, 1>, &ComputeTile<2 * kRowStep, 1>, &ComputeTile<3 * kRowStep, 1>},
      {&ComputeTile<kRowStep, 2>, &ComputeTile<2 * kRowStep, 2>, &ComputeTile<3 * kRowStep, 2>},
      {&ComputeTile<kRowStep, kMaxVectors>, &ComputeTile<2 * kRowStep, kMaxVectors>, nullptr}};
  return kFunctions[vectors - 1][(rows - 1) / kRowStep];
}

/// Where the vectors of one tile row go, and what happens to them on the way.
struct Merge {
  float alpha, beta;
  bool mask_contribution, mask_sum, add_bias, relu;
};

template <class Tag>
HWY_INLINE HWY_ATTR void MergeVector(Tag d, const Merge& merge, const float* tile, const float* mask, const float* bias,
                                     float* c) {
  const auto zero = hn::Zero(d);
  auto r = hn::Mul(hn::Set(d, merge.alpha), hn::LoadU(d, tile));
  if (merge.mask_contribution) r = hn::IfThenElseZero(hn::Gt(hn::LoadU(d, mask), zero), r);
  if (merge.beta != 0.0f) r = hn::MulAdd(hn::Set(d, merge.beta), hn::LoadU(d, c), r);
  if (merge.mask_sum) r = hn::IfThenElseZero(hn::Gt(hn::LoadU(d, mask), zero), r);
  if (merge.add_bias) r = hn::Add(r, hn::LoadU(d, bias));
  if (merge.relu) r = hn::IfThenElse(hn::Lt(r, zero), zero, r);  // NaN stays NaN
  hn::StoreU(r, d, c);
}

HWY_ATTR void MergeRow(const Merge& merge, int64_t count, const float* tile, const float* mask, const float* bias,
                       float* c) {
  const D d;
  const hn::CappedTag<float, 1> single;
  int64_t j = 0;
  for (; j + kLanes <= count; j += kLanes) MergeVector(d, merge, tile + j, mask + j, bias + j, c + j);
  for (; j < count; ++j) MergeVector(single, merge, tile + j, mask + j, bias + j, c + j);
}

HWY_ATTR void Block(const GemmBlock& block, const GemmEpilogue& epilogue) {
  HWY_ALIGN float tile[kMaxRows * kMaxVectors * kLanes];
  const bool masked = epilogue.relu_mask != nullptr;
  const Merge merge{.alpha = epilogue.alpha,
                    .beta = block.first ? epilogue.beta : 1.0f,
                    .mask_contribution = masked && epilogue.beta != 0.0f,
                    .mask_sum = masked && epilogue.beta == 0.0f && block.last,
                    .add_bias = epilogue.bias && block.first,
                    .relu = epilogue.relu && block.last};
  const int64_t first_column = block.layout->begin(block.panel_begin);
  for (int64_t panel = block.panel_begin; panel < block.panel_end; ++panel) {
    const int64_t column = block.layout->begin(panel), width = block.layout->width(panel);
    const int64_t count = std::min(width, block.columns - column);
    const int vectors = static_cast<int>(width / kLanes);
    const float* b = block.b + (column - first_column) * block.b_depth + block.b_begin * width;
    const int64_t height = tile_rows(vectors);
    for (int64_t row = 0; row < block.rows; row += height) {
      const int64_t rows = std::min(height, block.rows - row);
      tile_function(rows, vectors)(block.a + row * block.depth, b, block.depth, tile);
      for (int64_t i = 0; i < rows; ++i) {
        const int64_t offset = block.row_offset[row + i] + column;
        const float* mask = masked ? epilogue.relu_mask + offset : nullptr;
        const float* bias = epilogue.bias ? epilogue.bias + column : nullptr;
        MergeRow(merge, count, tile + i * width, mask, bias, epilogue.c + offset);
      }
    }
  }
}

/// Four rows of four columns, transposed; on machines without vectors, one element.
HWY_ATTR void Transpose(const float* input, int64_t input_stride, int64_t rows, int64_t columns, float* output,
                        int64_t output_stride) {
  constexpr int64_t kSide = kLanes >= 4 ? 4 : 1;
  const int64_t whole_rows = rows / kSide * kSide, whole_columns = columns / kSide * kSide;
#if HWY_TARGET != HWY_SCALAR
  const hn::CappedTag<float, 4> d;
  for (int64_t j = 0; j < whole_columns; j += kSide) {
    const float* from = input + j * input_stride;
    for (int64_t i = 0; i < whole_rows; i += kSide) {
      const auto r0 = hn::LoadU(d, from + i), r1 = hn::LoadU(d, from + input_stride + i);
      const auto r2 = hn::LoadU(d, from + 2 * input_stride + i), r3 = hn::LoadU(d, from + 3 * input_stride + i);
      const auto even_low = hn::InterleaveLower(d, r0, r2), odd_low = hn::InterleaveLower(d, r1, r3);
      const auto even_high = hn::InterleaveUpper(d, r0, r2), odd_high = hn::InterleaveUpper(d, r1, r3);
      float* to = output + i * output_stride + j;
      hn::StoreU(hn::InterleaveLower(d, even_low, odd_low), d, to);
      hn::StoreU(hn::InterleaveUpper(d, even_low, odd_low), d, to + output_stride);
      hn::StoreU(hn::InterleaveLower(d, even_high, odd_high), d, to + 2 * output_stride);
      hn::StoreU(hn::InterleaveUpper(d, even_high, odd_high), d, to + 3 * output_stride);
    }
  }
#else
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) output[i * output_stride + j] = input[j * input_stride + i];
  }
#endif
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = i < whole_rows ? whole_columns : 0; j < columns; ++j)
      output[i * output_stride + j] = input[j * input_stride + i];
  }
}

int64_t Lanes() {
  return kLanes;
}
int64_t MaxVectors() {
  return kMaxVectors;
}

}  // namespace HWY_NAMESPACE
}  // namespace minidl::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace minidl::cpu {

HWY_EXPORT(Block);
HWY_EXPORT(Transpose);
HWY_EXPORT(Lanes);
HWY_EXPORT(MaxVectors);

GemmColumns::GemmColumns(int64_t columns)
    : lanes(HWY_DYNAMIC_DISPATCH(Lanes)()), vectors((columns + lanes - 1) / lanes) {
  const int64_t widest = HWY_DYNAMIC_DISPATCH(MaxVectors)();
  panels = (vectors + widest - 1) / widest;
}

void gemm_block(const GemmBlock& block, const GemmEpilogue& epilogue) {
  HWY_DYNAMIC_DISPATCH(Block)(block, epilogue);
}

void transpose(const float* input, int64_t input_stride, int64_t rows, int64_t columns, float* output,
               int64_t output_stride) {
  HWY_DYNAMIC_DISPATCH(Transpose)(input, input_stride, rows, columns, output, output_stride);
}

}  // namespace minidl::cpu
#endif
