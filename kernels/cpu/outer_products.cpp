#include <minidl/kernels/cpu/gemm_kernel.h>
#include <minidl/kernels/cpu/outer_products.h>
#include <minidl/kernels/cpu/simd.h>

#include <algorithm>
#include <array>
#include <utility>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "minidl/kernels/cpu/outer_products.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include <minidl/kernels/cpu/map-inl.h>

HWY_BEFORE_NAMESPACE();
namespace minidl::cpu::HWY_NAMESPACE {
using D = hn::ScalableTag<float>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));

// The sums of a tile, a row of b and one element of a live in registers: 32 of them with AVX-512 and NEON, 16
// elsewhere. A tile that is nearly square needs the fewest loads for a product.
constexpr bool kManyRegisters = HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL || HWY_ARCH_ARM_A64;
constexpr int kWidest = kManyRegisters ? 4 : 2;
constexpr int most_rows(int vectors) {
  return !kManyRegisters || vectors == 4 ? 6 : vectors == 3 ? 8 : 12;
}

/// Rows [row, row + kRows) and kVectors vectors from `column` on.
template <int kRows, int kVectors>
HWY_NOINLINE HWY_ATTR void AddTile(const OuterProducts& product, int64_t row, int64_t column) {
  const D d;
  float* sums = product.sums + row * product.sums_stride + column;
  hn::Vec<D> sum[kRows][kVectors];
  HWY_UNROLL(12)
  for (int i = 0; i < kRows; ++i) {
    HWY_UNROLL(4)
    for (int v = 0; v < kVectors; ++v) sum[i][v] = hn::Zero(d);
  }
  const int64_t a_stride = product.a_stride, b_stride = product.b_stride, ahead = product.ahead;
  for (int64_t s = 0; s < product.span_count; ++s) {
    const OuterProducts::Span& span = product.spans[s];
    const float* HWY_RESTRICT a = span.a + row;
    const float* HWY_RESTRICT b = span.b + column;
    for (int64_t k = 0; k < span.count; ++k, a += a_stride, b += b_stride) {
      hn::Vec<D> values[kVectors];
      HWY_UNROLL(4)
      for (int v = 0; v < kVectors; ++v) {
        values[v] = hn::LoadU(d, b + v * kLanes);
        hold(values[v]);
      }
      hwy::Prefetch(a + ahead);
      HWY_UNROLL(12)
      for (int i = 0; i < kRows; ++i) {
        const hn::Vec<D> element = hn::Set(d, a[i]);
        HWY_UNROLL(4)
        for (int v = 0; v < kVectors; ++v) sum[i][v] = hn::MulAdd(element, values[v], sum[i][v]);
      }
    }
  }
  HWY_UNROLL(12)
  for (int i = 0; i < kRows; ++i) {
    HWY_UNROLL(4)
    for (int v = 0; v < kVectors; ++v) {
      float* to = sums + i * product.sums_stride + v * kLanes;
      hn::StoreU(hn::Add(sum[i][v], hn::LoadU(d, to)), d, to);
    }
  }
}

using TileFunction = void (*)(const OuterProducts&, int64_t, int64_t);

template <int kVectors, int... kRows>
constexpr auto tiles_of_width(std::integer_sequence<int, kRows...>) {
  return std::array<TileFunction, sizeof...(kRows)>{&AddTile<kRows + 1, kVectors>...};
}

/// All rows of kVectors vectors from `column` on, in tiles of about the same height.
template <int kVectors>
void AddPanel(const OuterProducts& product, int64_t column) {
  constexpr int kMost = most_rows(kVectors);
  static constexpr auto kTiles = tiles_of_width<kVectors>(std::make_integer_sequence<int, kMost>());
  const int64_t tiles = (product.rows + kMost - 1) / kMost;
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const int64_t row = tile * product.rows / tiles, end = (tile + 1) * product.rows / tiles;
    kTiles[static_cast<size_t>(end - row - 1)](product, row, column);
  }
}

template <int... kVectors>
constexpr auto panels_of_widths(std::integer_sequence<int, kVectors...>) {
  return std::array<void (*)(const OuterProducts&, int64_t), sizeof...(kVectors)>{&AddPanel<kVectors + 1>...};
}

void Add(const OuterProducts& product) {
  static constexpr auto kPanels = panels_of_widths(std::make_integer_sequence<int, kWidest>());
  const GemmColumns columns(product.columns);
  for (int64_t panel = 0; panel < columns.panels; ++panel)
    kPanels[static_cast<size_t>(columns.width(panel) / kLanes - 1)](product, columns.begin(panel));
}

}  // namespace minidl::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace minidl::cpu {

HWY_EXPORT(Add);

void add_outer_products(const OuterProducts& product) {
  MINIDL_DISPATCH(Add)(product);
}

}  // namespace minidl::cpu
#endif
