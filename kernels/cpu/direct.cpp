#include <minidl/kernels/cpu/direct.h>
#include <minidl/kernels/cpu/gemm_kernel.h>
#include <minidl/kernels/cpu/simd.h>

#include <algorithm>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "minidl/kernels/cpu/direct.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include <minidl/kernels/cpu/map-inl.h>

HWY_BEFORE_NAMESPACE();
namespace minidl::cpu::HWY_NAMESPACE {

using D = hn::ScalableTag<float>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
static_assert(DirectConv::kWholeRun % kLanes == 0);

// The sums of a group, a row of filters and a value of the picture live in registers: 32 of them with AVX-512 and NEON,
// 16 elsewhere.
constexpr bool kManyRegisters = HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL || HWY_ARCH_ARM_A64;
constexpr int wide_pixels(int vectors) {
  return !kManyRegisters ? 6 : vectors == 4 ? 6 : vectors == 3 ? 8 : 12;
}
constexpr int narrow_pixels(int outputs) {
  return std::min(8, (kManyRegisters ? 24 : 12) / outputs);
}

/// Writes output[at, at + count) from sums that include the bias.
HWY_INLINE void write_outputs(const DirectConv& conv, int64_t at, int64_t count, const float* sums) {
  for_lanes(0, count, [&](auto d, int64_t i) HWY_ATTR {
    const auto zero = hn::Zero(d);
    auto x = hn::LoadU(d, sums + i);
    if (conv.relu_mask) x = hn::IfThenElseZero(load_mask(d, conv.relu_mask, at + i), x);
    if (conv.beta != 0.0f) x = hn::MulAdd(hn::Set(d, conv.beta), hn::LoadU(d, conv.output + at + i), x);
    if (conv.relu) x = hn::IfThenElse(hn::Lt(x, zero), zero, x);  // NaN stays NaN
    if (conv.positive_output) store_mask(d, hn::Gt(x, zero), at + i, conv.positive_output);
    hn::StoreU(x, d, conv.output + at + i);
  });
}

/// Filters of output channels [column, column + count). Wide: bias [width], weight [k_h, run, width], width as many
/// whole vectors as hold them. Narrow: bias [count, lanes] in first lanes, weight [k_h, run / lanes, count, lanes].
struct Panel {
  const float *bias, *weight;
  int64_t column, count;
};

/// `count` pixels whose first output is output[at].
template <int kPixels, int kVectors>
HWY_NOINLINE HWY_ATTR void WideGroup(const DirectConv& conv, const DirectWindows& windows, const Panel& panel,
                                     int64_t at, int64_t count) {
  constexpr int kWidth = kVectors * kLanes;
  const D d;
  hn::Vec<D> sum[kPixels][kVectors];
  HWY_UNROLL(12)
  for (int i = 0; i < kPixels; ++i) {
    HWY_UNROLL(4)
    for (int v = 0; v < kVectors; ++v) sum[i][v] = hn::LoadU(d, panel.bias + v * kLanes);
  }
  const int64_t run = conv.run(), step = conv.stride_w * conv.in_c;
  for (const DirectWindows::Line& line : windows.lines()) {
    const float* HWY_RESTRICT weight = panel.weight + line.tap * run * kWidth;
    const float* values[kPixels];
    HWY_UNROLL(12)
    for (int i = 0; i < kPixels; ++i) values[i] = line.window + i * step;
    for (int64_t k = 0; k < run; ++k, weight += kWidth) {
      hn::Vec<D> row[kVectors];
      HWY_UNROLL(4)
      for (int v = 0; v < kVectors; ++v) row[v] = hn::LoadU(d, weight + v * kLanes);
      HWY_UNROLL(12)
      for (int i = 0; i < kPixels; ++i) {
        const hn::Vec<D> value = hn::Set(d, values[i][k]);
        HWY_UNROLL(4)
        for (int v = 0; v < kVectors; ++v) sum[i][v] = hn::MulAdd(value, row[v], sum[i][v]);
      }
    }
  }
  if (conv.plain() && panel.count == kWidth && count == kPixels) {
    const hn::Vec<D> least = hn::Set(d, conv.relu ? 0.0f : -std::numeric_limits<float>::infinity());
    HWY_UNROLL(12)
    for (int i = 0; i < kPixels; ++i) {
      HWY_UNROLL(4)
      for (int v = 0; v < kVectors; ++v) {
        const hn::Vec<D> x = sum[i][v];
        const int64_t offset = i * conv.out_c + v * kLanes;
        if (conv.positive_output) store_mask(d, hn::Gt(x, hn::Zero(d)), at + offset, conv.positive_output);
        hn::StoreU(hn::IfThenElse(hn::Lt(x, least), least, x), d, conv.output + at + offset);  // NaN stays NaN
      }
    }
    return;
  }
  HWY_ALIGN float sums[kPixels * kWidth];
  HWY_UNROLL(12)
  for (int i = 0; i < kPixels; ++i) {
    HWY_UNROLL(4)
    for (int v = 0; v < kVectors; ++v) hn::Store(sum[i][v], d, sums + i * kWidth + v * kLanes);
  }
  for (int64_t i = 0; i < count; ++i) write_outputs(conv, at + i * conv.out_c, panel.count, sums + i * kWidth);
}

template <int kVectors>
void wide_row(const DirectConv& conv, const Panel& panel, int64_t row, float* scratch) {
  constexpr int kPixels = wide_pixels(kVectors);
  static_assert(kPixels <= DirectWindows::kMostPixels);
  DirectWindows windows(conv, row, kPixels, scratch);
  for (int64_t w = 0; w < conv.out_w; w += kPixels) {
    windows.move_to(w);
    WideGroup<kPixels, kVectors>(conv, windows, panel, (row * conv.out_w + w) * conv.out_c + panel.column,
                                 std::min<int64_t>(kPixels, conv.out_w - w));
  }
}

#if HWY_TARGET == HWY_SCALAR
/// sums[i] = all lanes of x[i] added up, for four vectors.
HWY_INLINE void store_lane_sums(const hn::Vec<D>* x, float* sums) {
  for (int i = 0; i < 4; ++i) sums[i] = hn::GetLane(x[i]);
}
#else
/// Adds up the blocks of four lanes.
template <class Tag>
HWY_INLINE hn::Vec<hn::CappedTag<float, 4>> sum_of_blocks([[maybe_unused]] Tag d, hn::Vec<Tag> x) {
  if constexpr (hn::MaxLanes(Tag()) == 4) {
    return x;
  } else {
    const hn::Half<Tag> half;
    return sum_of_blocks(half, hn::Add(hn::LowerHalf(half, x), hn::UpperHalf(half, x)));
  }
}

/// sums[i] = all lanes of x[i] added up, for four vectors.
HWY_INLINE void store_lane_sums(const hn::Vec<D>* x, float* sums) {
  const D d;
  const hn::Repartition<uint64_t, D> pairs;
  const auto ab = hn::Add(hn::InterleaveLower(d, x[0], x[1]), hn::InterleaveUpper(d, x[0], x[1]));
  const auto cd = hn::Add(hn::InterleaveLower(d, x[2], x[3]), hn::InterleaveUpper(d, x[2], x[3]));
  const auto first = hn::BitCast(pairs, ab), second = hn::BitCast(pairs, cd);
  const auto blocks = hn::Add(hn::BitCast(d, hn::InterleaveLower(pairs, first, second)),
                              hn::BitCast(d, hn::InterleaveUpper(pairs, first, second)));
  hn::StoreU(sum_of_blocks(d, blocks), hn::CappedTag<float, 4>(), sums);
}
#endif

/// sums[i, o] = bias[o] + sum of the products of pixel i's window with filter o.
template <int kPixels, int kOutputs>
HWY_NOINLINE HWY_ATTR void NarrowGroup(const DirectConv& conv, const DirectWindows& windows, const Panel& panel,
                                       float* sums) {
  const D d;
  hn::Vec<D> sum[kPixels * kOutputs];
  HWY_UNROLL(24)
  for (int i = 0; i < kPixels * kOutputs; ++i) sum[i] = hn::LoadU(d, panel.bias + i % kOutputs * kLanes);
  const int64_t run = conv.run(), step = conv.stride_w * conv.in_c;
  for (const DirectWindows::Line& line : windows.lines()) {
    const float* HWY_RESTRICT weight = panel.weight + line.tap * run * kOutputs;
    const float* values[kPixels];
    HWY_UNROLL(8)
    for (int i = 0; i < kPixels; ++i) values[i] = line.window + i * step;
    // The row before did not read the last line: what the next group reads of it is fetched meanwhile.
    const bool new_line = &line == &windows.lines().back();
    const float* next = values[kPixels - 1] + run;
    for (int64_t k = 0; k < run; k += kLanes, weight += kOutputs * kLanes) {
      for (int v = 0; new_line && v < 3; ++v) hwy::Prefetch(next + 3 * k + v * kLanes);
      hn::Vec<D> row[kOutputs];
      HWY_UNROLL(4)
      for (int o = 0; o < kOutputs; ++o) row[o] = hn::LoadU(d, weight + o * kLanes);
      HWY_UNROLL(8)
      for (int i = 0; i < kPixels; ++i) {
        hn::Vec<D> value = hn::LoadU(d, values[i] + k);
        hold(value);
        HWY_UNROLL(4)
        for (int o = 0; o < kOutputs; ++o) sum[i * kOutputs + o] = hn::MulAdd(value, row[o], sum[i * kOutputs + o]);
      }
    }
  }
  static_assert(kPixels * kOutputs % 4 == 0);
  HWY_UNROLL(6)
  for (int i = 0; i < kPixels * kOutputs; i += 4) store_lane_sums(sum + i, sums + i);
}

template <int kOutputs>
void narrow_row(const DirectConv& conv, const Panel& panel, int64_t row, float* scratch) {
  constexpr int kPixels = narrow_pixels(kOutputs);
  static_assert(kPixels <= DirectWindows::kMostPixels);
  DirectWindows windows(conv, row, kPixels, scratch);
  float* sums = scratch + DirectWindows::buffer_count(conv);
  for (int64_t w = 0; w < conv.out_w; w += kPixels) {
    windows.move_to(w);
    NarrowGroup<kPixels, kOutputs>(conv, windows, panel, sums + w * kOutputs);
  }
  write_outputs(conv, row * conv.out_w * kOutputs, conv.out_w * kOutputs, sums);
}

using RowFunction = void (*)(const DirectConv&, const Panel&, int64_t, float*);
constexpr RowFunction kWideRow[] = {&wide_row<1>, &wide_row<2>, &wide_row<3>, &wide_row<4>};
constexpr RowFunction kNarrowRow[] = {&narrow_row<1>, &narrow_row<2>, &narrow_row<3>, &narrow_row<4>};

void Row(const DirectConv& conv, const float* packed, int64_t row, float* scratch) {
  if (conv.narrow()) {
    kNarrowRow[conv.out_c - 1](conv, {packed, packed + conv.out_c * kLanes, 0, conv.out_c}, row, scratch);
    return;
  }
  const GemmColumns columns(conv.out_c);
  const float* weight = packed + columns.padded();
  for (int64_t i = 0; i < columns.panels; ++i) {
    const int64_t column = columns.begin(i), width = columns.width(i);
    const Panel panel{packed + column, weight + column * conv.depth(), column, std::min(width, conv.out_c - column)};
    kWideRow[width / kLanes - 1](conv, panel, row, scratch);
  }
}

}  // namespace minidl::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace minidl::cpu {

DirectWindows::DirectWindows(const DirectConv& conv, int64_t row, int pixels, float* buffer)
    : conv_(conv), columns_((pixels - 1) * conv.stride_w + conv.k_w), buffer_(buffer) {
  const int64_t n = row / conv.out_h, first = row % conv.out_h * conv.stride_h - conv.top;
  lines_.reserve(static_cast<size_t>(conv.k_h));
  for (int64_t r = 0; r < conv.k_h; ++r) {
    const int64_t i = padded_index(first + r, conv.in_h, conv.mode);
    if (i >= 0) lines_.push_back({conv.picture + (n * conv.in_h + i) * conv.in_w * conv.in_c, nullptr, r});
  }
}

int64_t DirectWindows::buffer_count(const DirectConv& conv) {
  return conv.k_h * ((kMostPixels - 1) * conv.stride_w + conv.k_w) * conv.in_c;
}

void DirectWindows::move_to(int64_t w) {
  const int64_t first = w * conv_.stride_w - conv_.left;
  const bool inside = first >= 0 && first + columns_ <= conv_.in_w;
  float* copy = buffer_;
  for (Line& line : lines_) {
    line.window = inside ? line.picture + first * conv_.in_c : copy;
    if (inside) continue;
    copy_pixels(line.picture, first, copy);
    copy += columns_ * conv_.in_c;
  }
}

void DirectWindows::copy_pixels(const float* line, int64_t first, float* output) const {
  for (int64_t j = first; j < first + columns_; ++j, output += conv_.in_c) {
    const int64_t from = padded_index(j, conv_.in_w, conv_.mode);
    if (from < 0) {
      std::fill_n(output, conv_.in_c, 0.0f);
    } else {
      std::copy_n(line + from * conv_.in_c, conv_.in_c, output);
    }
  }
}

namespace {

void pack_wide(const DirectConv& conv, const GemmColumns& columns, float* packed) {
  std::fill_n(packed, columns.padded(), 0.0f);
  if (conv.bias) std::copy_n(conv.bias, conv.out_c, packed);
  packed += columns.padded();
  for (int64_t panel = 0; panel < columns.panels; ++panel) {
    const int64_t column = columns.begin(panel), width = columns.width(panel);
    const int64_t count = std::min(width, conv.out_c - column);
    if (count < width) std::fill_n(packed, conv.depth() * width, 0.0f);
    transpose(conv.weight + column * conv.depth(), conv.depth(), conv.depth(), count, packed, width);
    packed += conv.depth() * width;
  }
}

void pack_narrow(const DirectConv& conv, int64_t lanes, float* packed) {
  std::fill_n(packed, conv.out_c * lanes, 0.0f);
  for (int64_t o = 0; conv.bias && o < conv.out_c; ++o) packed[o * lanes] = conv.bias[o];
  packed += conv.out_c * lanes;
  for (int64_t k = 0; k < conv.depth(); k += lanes) {
    for (int64_t o = 0; o < conv.out_c; ++o, packed += lanes)
      std::copy_n(conv.weight + o * conv.depth() + k, lanes, packed);
  }
}

}  // namespace

HWY_EXPORT(Row);

int64_t direct_packed_count(const DirectConv& conv) {
  const GemmColumns columns(conv.out_c);
  return conv.narrow() ? conv.out_c * (columns.lanes + conv.depth()) : columns.padded() * (1 + conv.depth());
}

int64_t direct_scratch_count(const DirectConv& conv) {
  return DirectWindows::buffer_count(conv) +
         (conv.narrow() ? (conv.out_w + DirectWindows::kMostPixels) * conv.out_c : 0);
}

void direct_pack(const DirectConv& conv, float* packed) {
  const GemmColumns columns(conv.out_c);
  conv.narrow() ? pack_narrow(conv, columns.lanes, packed) : pack_wide(conv, columns, packed);
}

void direct_row(const DirectConv& conv, const float* packed, int64_t row, float* scratch) {
  MINIDL_DISPATCH(Row)(conv, packed, row, scratch);
}

}  // namespace minidl::cpu
#endif
