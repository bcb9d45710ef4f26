#include <minidl/kernels/cpu/amx_product.h>
#include <minidl/kernels/cpu/simd.h>

#include <algorithm>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "minidl/kernels/cpu/amx_product.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set
#include <hwy/highway.h>
#include <minidl/kernels/cpu/amx_product-inl.h>

HWY_BEFORE_NAMESPACE();
namespace minidl::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;
using U = hn::Vec<hn::RebindToUnsigned<D>>;
constexpr D kFloats;
constexpr hn::RebindToUnsigned<D> kWords;

/// Subnormal numbers become zeros of their sign.
HWY_INLINE V flush(V x) {
  const V zero = hn::And(x, hn::Set(kFloats, -0.0f));
  return hn::IfThenElse(hn::Lt(hn::Abs(x), hn::Set(kFloats, 1.17549435e-38f)), zero, x);
}

HWY_INLINE U upper_half(U x) {
  return hn::And(x, hn::Set(kWords, 0xffff0000u));
}

/// Element 0 or 1 of each pair of bf16.
HWY_INLINE V first_of_pair(U pair) {
  return flush(hn::BitCast(kFloats, hn::ShiftLeft<16>(pair)));
}
HWY_INLINE V second_of_pair(U pair) {
  return flush(hn::BitCast(kFloats, upper_half(pair)));
}

/// Tile operations with the arithmetic of the instructions: for each element of the sum the products of first and of
/// second elements of the pairs are summed apart with fused multiply-adds, then together, then added; every step rounds
/// to nearest even and flushes subnormal numbers. (Without a fused multiply-add it is the same as long as no product,
/// which f32 holds exactly, is subnormal.)
class PortableTiles {
 public:
  template <int kTile>
  void zero() {
    std::memset(tile_[kTile], 0, sizeof tile_[kTile]);
  }
  template <int kTile>
  void load(const void* from, int64_t stride) {
    for (int i = 0; i < kRows; ++i) std::memcpy(tile_[kTile][i], static_cast<const char*>(from) + i * stride, kBytes);
  }
  template <int kTile>
  void store(void* to, int64_t stride) const {
    for (int i = 0; i < kRows; ++i) std::memcpy(static_cast<char*>(to) + i * stride, tile_[kTile][i], kBytes);
  }
  template <int kSum, int kA, int kB>
  void multiply() {
    multiply(tile_[kSum], tile_[kA], tile_[kB]);
  }

 private:
  static constexpr int kRows = 16, kPairs = 16, kBytes = 64;
  using Tile = uint32_t[kRows][kBytes / sizeof(uint32_t)];

  static HWY_NOINLINE HWY_ATTR void multiply(Tile& sum, const Tile& a, const Tile& b) {
    for (int i = 0; i < kRows; ++i) {
      for (int j = 0; j < 16; j += static_cast<int>(hn::Lanes(kFloats))) {
        V first = hn::Zero(kFloats), second = hn::Zero(kFloats);
        for (int k = 0; k < kPairs; ++k) {
          const U left = hn::Set(kWords, a[i][k]), right = hn::Load(kWords, b[k] + j);
          first = flush(hn::MulAdd(first_of_pair(left), first_of_pair(right), first));
          second = flush(hn::MulAdd(second_of_pair(left), second_of_pair(right), second));
        }
        const V before = flush(hn::BitCast(kFloats, hn::Load(kWords, sum[i] + j)));
        const V after = flush(hn::Add(before, flush(hn::Add(first, second))));
        hn::Store(hn::BitCast(kWords, after), kWords, sum[i] + j);
      }
    }
  }

  HWY_ALIGN Tile tile_[8];
};

/// bf16(x) in the upper half of each word, rounded to nearest even; the lower half is not cleared. NaN stays NaN.
HWY_INLINE U round_to_bf16(V x) {
  const U bits = hn::BitCast(kWords, x), odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(kWords, 1));
  const U rounded = hn::Add(bits, hn::Add(odd, hn::Set(kWords, 0x7fff)));
  const U quiet = hn::Or(bits, hn::Set(kWords, 0x00400000));
  return hn::IfThenElse(hn::MaskFromVec(hn::BitCast(kWords, hn::VecFromMask(kFloats, hn::IsNaN(x)))), quiet, rounded);
}
/// Parts of the pairs (first, second).
HWY_INLINE void split_pairs(V first, V second, int parts, uint16_t* output) {
  for (int part = 0; part < parts; ++part, output += kAmxBlockCount) {
    const U first_part = round_to_bf16(flush(first)), second_part = round_to_bf16(flush(second));
    const U pair = hn::Or(hn::ShiftRight<16>(first_part), upper_half(second_part));
    hn::StoreU(pair, kWords, reinterpret_cast<uint32_t*>(output));
    first = hn::Sub(first, hn::BitCast(kFloats, upper_half(first_part)));
    second = hn::Sub(second, hn::BitCast(kFloats, upper_half(second_part)));
  }
}

void Split(const float* values, int64_t rows, int parts, uint16_t* output, int64_t stride) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(kFloats));
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < kAmxBlock; i += 2 * lanes) {
      V first, second;
      hn::LoadInterleaved2(kFloats, values + row * kAmxBlock + i, first, second);
      split_pairs(first, second, parts, output + row * stride + i);
    }
  }
}

void SplitColumns(const float* values, int parts, uint16_t* output) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(kFloats));
  for (int64_t pair = 0; pair < kAmxBlock / 2; ++pair) {
    const float* row = values + 2 * pair * kAmxBlock;
    for (int64_t column = 0; column < kAmxBlock; column += lanes) {
      uint16_t* to = output + column / 16 * (kAmxBlockCount / 2) + pair * kAmxBlock + column % 16 * 2;
      split_pairs(hn::LoadU(kFloats, row + column), hn::LoadU(kFloats, row + kAmxBlock + column), parts, to);
    }
  }
}

void Multiply(const AmxProduct& product) {
  multiply_with<PortableTiles>(product);
}

void MultiplyWindows(const WindowProduct& product) {
  multiply_windows_with<PortableTiles>(product);
}

void Round(const RowsToRound& rows) {
  HWY_ALIGN float values[kAmxBlock] = {};
  HWY_ALIGN uint16_t rounded[kAmxBlock];
  for (int64_t row = 0; row < rows.rows; ++row) {
    std::copy_n(rows.values + row * rows.stride, rows.count, values);
    Split(values, 1, 1, rounded, 0);
    std::copy_n(rounded, rows.width, rows.output + row * rows.width);
  }
}

}  // namespace minidl::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace minidl::cpu {

HWY_EXPORT(Multiply);
HWY_EXPORT(Split);
HWY_EXPORT(SplitColumns);
HWY_EXPORT(MultiplyWindows);
HWY_EXPORT(Round);

namespace {
void multiply(const AmxProduct& product) {
  MINIDL_DISPATCH(Multiply)(product);
}
void split(const float* values, int64_t rows, int parts, uint16_t* output, int64_t stride) {
  MINIDL_DISPATCH(Split)(values, rows, parts, output, stride);
}
void split_columns(const float* values, int parts, uint16_t* output) {
  MINIDL_DISPATCH(SplitColumns)(values, parts, output);
}
void multiply_windows(const WindowProduct& product) {
  MINIDL_DISPATCH(MultiplyWindows)(product);
}
void round_rows(const RowsToRound& rows) {
  MINIDL_DISPATCH(Round)(rows);
}
}  // namespace

const AmxBody& amx_portable() {
  static constexpr AmxBody kBody{multiply, split, split_columns, multiply_windows, round_rows};
  return kBody;
}

bool amx_available() {
  return simd().amx;
}

const AmxBody& amx_body() {
  return amx_available() ? *amx_instructions() : amx_portable();
}

const AmxBody* bf16_body() {
  if (amx_available()) return amx_instructions();
  return simd().bf16 ? bf16_dot_products() : nullptr;
}

}  // namespace minidl::cpu
#endif
