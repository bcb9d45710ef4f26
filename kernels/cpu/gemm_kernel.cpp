#include <minidl/kernels/cpu/gemm_kernel.h>
#include <minidl/kernels/cpu/simd.h>

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "minidl/kernels/cpu/gemm_kernel.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>

#include <minidl/kernels/cpu/map-inl.h>

HWY_BEFORE_NAMESPACE();
namespace minidl::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));

// The sums of a tile, a row of B and one element of A live in registers: 32 of them with AVX-512 and NEON, 16
// elsewhere. A tile that is nearly square needs the fewest loads for a product.
constexpr bool kManyRegisters = HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL || HWY_ARCH_ARM_A64;
constexpr int64_t kLine = 16;  // floats in a line of a cache
constexpr int kMaxVectors = kManyRegisters ? 4 : 2;
constexpr int kMaxRows = kManyRegisters ? 12 : 6;

/// Rows of a tile that is `vectors` wide: `most`, or fewer in multiples of `step` at the lower end of a block.
struct Height {
  int most, step;
};
constexpr Height tile_height(int vectors) {
  if (!kManyRegisters) return {6, 2};
  return vectors == 4 ? Height{6, 2} : vectors == 3 ? Height{8, 4} : Height{12, 4};
}

/// What a tile is computed from and where it goes: straight into C (added to it or not), or to `scratch` [rows, width]
/// for the general epilogue.
struct Tile {
  const float* const* a;  // [pieces, a_stride] pointers to `piece` values each
  int64_t a_stride, pieces, piece;
  const float* b;             // [pieces * piece, width]
  float* c;                   // nullptr: to scratch
  const int64_t* row_offset;  // in C
  bool add;
  float* scratch;
  const float* ahead;  // fetched into the second cache, a line for each k
};

/// sum[i, j] = sum over k of A[i, k] * B[k, j], where a row of A is a sequence of pieces.
template <int kRows, int kVectors>
HWY_NOINLINE HWY_ATTR void ComputeTile(const Tile& tile) {
  constexpr int kWidth = kVectors * kLanes;
  const D d;
  hn::Vec<D> sum[kRows][kVectors];
  float* target[kRows];
  HWY_UNROLL(12)
  for (int i = 0; i < kRows; ++i) {
    target[i] = tile.c ? tile.c + tile.row_offset[i] : tile.scratch + i * kWidth;
    HWY_UNROLL(4)
    for (int v = 0; v < kVectors; ++v) {
      sum[i][v] = hn::Zero(d);
      hwy::Prefetch(target[i] + v * kLanes);
    }
  }
  const float* HWY_RESTRICT b = tile.b;
  const float* ahead = tile.ahead;
  for (int64_t p = 0; p < tile.pieces; ++p) {
    const float* a[kRows];
    HWY_UNROLL(12)
    for (int i = 0; i < kRows; ++i) a[i] = tile.a[p * tile.a_stride + i];
    for (int64_t k = 0; k < tile.piece; ++k, b += kWidth) {
      hn::Vec<D> row[kVectors];
      HWY_UNROLL(4)
      for (int v = 0; v < kVectors; ++v) row[v] = hn::Load(d, b + v * kLanes);
      __builtin_prefetch(ahead, 0, 2);
      ahead += kLine;
      HWY_UNROLL(12)
      for (int i = 0; i < kRows; ++i) {
        const hn::Vec<D> element = hn::Set(d, a[i][k]);
        HWY_UNROLL(4)
        for (int v = 0; v < kVectors; ++v) sum[i][v] = hn::MulAdd(element, row[v], sum[i][v]);
      }
    }
  }
  const bool add = tile.add;
  HWY_UNROLL(12)
  for (int i = 0; i < kRows; ++i) {
    HWY_UNROLL(4)
    for (int v = 0; v < kVectors; ++v) {
      if (add) sum[i][v] = hn::Add(sum[i][v], hn::LoadU(d, target[i] + v * kLanes));
      hn::StoreU(sum[i][v], d, target[i] + v * kLanes);
    }
  }
}

using TileFunction = void (*)(const Tile&);

template <int kVectors>
TileFunction tile_of_width(int64_t rows) {
  constexpr Height kHeight = tile_height(kVectors);
  static_assert(kHeight.step - 1 <= kGemmRowSlack);
  if constexpr (kHeight.most >= 3 * kHeight.step) {
    if (rows > 2 * kHeight.step) return &ComputeTile<3 * kHeight.step, kVectors>;
  }
  return rows > kHeight.step ? &ComputeTile<2 * kHeight.step, kVectors> : &ComputeTile<kHeight.step, kVectors>;
}

/// The lowest tile for this many rows and vectors.
TileFunction tile_function(int64_t rows, int vectors) {
  if constexpr (kMaxVectors == 4) {
    if (vectors == 4) return tile_of_width<4>(rows);
    if (vectors == 3) return tile_of_width<3>(rows);
  }
  return vectors == 2 ? tile_of_width<2>(rows) : tile_of_width<1>(rows);
}

/// What happens to a sum on its way to C in this block.
struct Merge {
  float alpha, beta;
  bool mask_contribution, mask_sum, bias, relu;

  Merge(const GemmBlock& block, const GemmEpilogue& epilogue)
      : alpha(epilogue.alpha),
        beta(block.first ? epilogue.beta : 1.0f),
        mask_contribution(epilogue.relu_mask && epilogue.beta != 0.0f),
        mask_sum(epilogue.relu_mask && epilogue.beta == 0.0f && block.last),
        bias(epilogue.bias && block.last),
        relu(epilogue.relu && block.last) {}

  bool plain() const {
    return alpha == 1.0f && (beta == 0.0f || beta == 1.0f) && !mask_contribution && !mask_sum && !bias && !relu;
  }
};

/// One row of a tile and where it goes; mask and bias may be nullptr.
struct Row {
  const float* sum;
  BitSpan mask;
  const float* bias;
  float* c;
};

template <class Tag>
HWY_INLINE HWY_ATTR void MergeVector(Tag d, const Merge& merge, const Row& row, int64_t j) {
  const auto zero = hn::Zero(d);
  auto r = hn::Mul(hn::Set(d, merge.alpha), hn::LoadU(d, row.sum + j));
  if (merge.mask_contribution) r = hn::IfThenElseZero(load_mask(d, row.mask, j), r);
  if (merge.beta != 0.0f) r = hn::MulAdd(hn::Set(d, merge.beta), hn::LoadU(d, row.c + j), r);
  if (merge.mask_sum) r = hn::IfThenElseZero(load_mask(d, row.mask, j), r);
  if (merge.bias) r = hn::Add(r, hn::LoadU(d, row.bias + j));
  if (merge.relu) r = hn::IfThenElse(hn::Lt(r, zero), zero, r);  // NaN stays NaN
  hn::StoreU(r, d, row.c + j);
}

HWY_ATTR void MergeRow(const Merge& merge, const Row& row, int64_t count) {
  const D d;
  const hn::CappedTag<float, 1> single;
  int64_t j = 0;
  for (; j + kLanes <= count; j += kLanes) MergeVector(d, merge, row, j);
  for (; j < count; ++j) MergeVector(single, merge, row, j);
}

/// Starts to read what the general epilogue of a tile will need.
HWY_INLINE HWY_ATTR void FetchRow(const Row& row, int64_t count) {
  for (int64_t j = 0; j < count; j += kLine) {
    hwy::Prefetch(row.c + j);
  }
}

/// All rows of a block against one panel of B [depth, width], whose columns [column, column + count) exist in C.
struct Panel {
  const float *b, *next;  // next: what is read afterwards
  int64_t column, width, count;
};
void MultiplyPanel(const GemmBlock& block, const GemmEpilogue& epilogue, const Panel& panel) {
  HWY_ALIGN float scratch[kMaxRows * kMaxVectors * kLanes];
  const Merge merge(block, epilogue);
  const int vectors = static_cast<int>(panel.width / kLanes);
  const Height height = tile_height(vectors);
  for (int64_t first = 0; first < block.rows; first += height.most) {
    const int64_t rows = std::min<int64_t>(height.most, block.rows - first);
    const int64_t* row_offset = block.row_offset + first;
    const bool direct = merge.plain() && panel.count == panel.width && rows % height.step == 0;
    float* c = epilogue.c + panel.column;
    const auto merged_row = [&](int64_t i) {
      return Row{scratch + i * panel.width, epilogue.relu_mask.from(panel.column + row_offset[i]),
                 epilogue.bias ? epilogue.bias + panel.column : nullptr, c + row_offset[i]};
    };
    if (!direct) {
      for (int64_t i = 0; i < rows; ++i) FetchRow(merged_row(i), panel.count);
    }
    // The tiles share the lines of the next panel; when all are fetched, the same ones again cost nothing.
    const int64_t depth = block.pieces * block.piece, lines = depth * panel.width / kLine;
    const int64_t fetched = std::min(first / height.most * depth, std::max<int64_t>(0, lines - depth));
    tile_function(rows, vectors)({.a = block.a + first,
                                  .a_stride = block.rows + kGemmRowSlack,
                                  .pieces = block.pieces,
                                  .piece = block.piece,
                                  .b = panel.b,
                                  .c = direct ? c : nullptr,
                                  .row_offset = row_offset,
                                  .add = direct && merge.beta != 0.0f,
                                  .scratch = scratch,
                                  .ahead = panel.next + fetched * kLine});
    if (direct) continue;
    for (int64_t i = 0; i < rows; ++i) MergeRow(merge, merged_row(i), panel.count);
  }
}

void Block(const GemmBlock& block, const GemmEpilogue& epilogue) {
  const GemmColumns& layout = *block.layout;
  for (int64_t panel = block.panel_begin; panel < block.panel_end; ++panel) {
    const int64_t column = layout.begin(panel), width = layout.width(panel);
    const float* b = block.b + (column - layout.begin(block.panel_begin)) * block.b_depth + block.b_begin * width;
    const float* next = panel + 1 < block.panel_end ? b + width * block.b_depth : block.next;
    MultiplyPanel(block, epilogue, {b, next ? next : b, column, width, std::min(width, block.columns - column)});
  }
}

#if HWY_TARGET != HWY_SCALAR
/// output[i, j] = input[j, i] for four rows and columns.
HWY_INLINE HWY_ATTR void TransposeSquare(const float* input, int64_t input_stride, float* output,
                                         int64_t output_stride) {
  const hn::CappedTag<float, 4> d;
  const auto r0 = hn::LoadU(d, input), r1 = hn::LoadU(d, input + input_stride);
  const auto r2 = hn::LoadU(d, input + 2 * input_stride), r3 = hn::LoadU(d, input + 3 * input_stride);
  const auto low02 = hn::InterleaveLower(d, r0, r2), low13 = hn::InterleaveLower(d, r1, r3);
  const auto high02 = hn::InterleaveUpper(d, r0, r2), high13 = hn::InterleaveUpper(d, r1, r3);
  hn::StoreU(hn::InterleaveLower(d, low02, low13), d, output);
  hn::StoreU(hn::InterleaveUpper(d, low02, low13), d, output + output_stride);
  hn::StoreU(hn::InterleaveLower(d, high02, high13), d, output + 2 * output_stride);
  hn::StoreU(hn::InterleaveUpper(d, high02, high13), d, output + 3 * output_stride);
}
#endif

/// Squares in strips of 16 rows of output, whose cache lines are still there at the next column; the rest one by one.
HWY_ATTR void Transpose(const float* input, int64_t input_stride, int64_t rows, int64_t columns, float* output,
                        int64_t output_stride) {
  int64_t whole_rows = 0, whole_columns = 0;
#if HWY_TARGET != HWY_SCALAR
  whole_rows = rows / 4 * 4;
  whole_columns = columns / 4 * 4;
  for (int64_t strip = 0; strip < whole_rows; strip += 16) {
    const int64_t strip_end = std::min(whole_rows, strip + 16);
    for (int64_t j = 0; j < whole_columns; j += 4) {
      // Each column of output is another page of input, whose lines no processor fetches ahead by itself.
      for (int64_t ahead = j + 32; ahead < std::min(j + 36, whole_columns); ++ahead)
        hwy::Prefetch(input + ahead * input_stride + strip);
      for (int64_t i = strip; i < strip_end; i += 4) {
        TransposeSquare(input + j * input_stride + i, input_stride, output + i * output_stride + j, output_stride);
      }
    }
  }
#endif
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = i < whole_rows ? whole_columns : 0; j < columns; ++j) {
      output[i * output_stride + j] = input[j * input_stride + i];
    }
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

GemmColumns::GemmColumns(int64_t columns) : lanes(MINIDL_DISPATCH(Lanes)()), vectors((columns + lanes - 1) / lanes) {
  const int64_t widest = MINIDL_DISPATCH(MaxVectors)();
  panels = (vectors + widest - 1) / widest;
}

void gemm_block(const GemmBlock& block, const GemmEpilogue& epilogue) {
  MINIDL_DISPATCH(Block)(block, epilogue);
}

void transpose(const float* input, int64_t input_stride, int64_t rows, int64_t columns, float* output,
               int64_t output_stride) {
  MINIDL_DISPATCH(Transpose)(input, input_stride, rows, columns, output, output_stride);
}

}  // namespace minidl::cpu
#endif
