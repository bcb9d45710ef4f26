#include <minidl/kernels/cpu/amx_product.h>

#ifdef MINIDL_COMPILES_AMX
#include <minidl/kernels/cpu/cpuid_bits.h>

#include <algorithm>
#include <cstring>

#pragma GCC diagnostic push
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // false alarms of g++ 12 (GCC bug 105593)
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop

#define MINIDL_BF16_TARGET __attribute__((target("avx512f,avx512bw,avx512bf16")))

namespace minidl::cpu {
namespace {

constexpr int64_t kHalf = kAmxBlockCount / 2;

/// Parts of A and B that are multiplied, small products first.
struct PartPair {
  int a, b;
};
constexpr PartPair kOne[] = {{0, 0}}, kTwo[] = {{1, 0}, {0, 0}, {0, 1}},
                   kThree[] = {{2, 0}, {1, 0}, {1, 1}, {0, 1}, {0, 2}, {0, 0}};

/// Blocks of 32 along the depth: `a` at kRows rows of the first, c [kRows, 32].
template <int kRows>
MINIDL_BF16_TARGET void multiply_rows(const uint16_t* a, const uint16_t* b, int64_t depth, int parts, bool add,
                                      float* c) {
  const PartPair* pairs = parts == 1 ? kOne : parts == 2 ? kTwo : kThree;
  const int count = parts == 1 ? 1 : parts == 2 ? 3 : 6;
  __m512 sum[kRows][2];
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
    sum[i][0] = add ? _mm512_loadu_ps(c + i * kAmxBlock) : _mm512_setzero_ps();
    sum[i][1] = add ? _mm512_loadu_ps(c + i * kAmxBlock + 16) : _mm512_setzero_ps();
  }
  for (int64_t block = 0; block < depth; ++block, a += parts * kAmxBlockCount, b += parts * kAmxBlockCount) {
    for (int p = 0; p < count; ++p) {
      const auto* left = reinterpret_cast<const int32_t*>(a + pairs[p].a * kAmxBlockCount);
      const uint16_t* right = b + pairs[p].b * kAmxBlockCount;
      for (int64_t k = 0; k < kAmxBlock / 2; ++k) {
        const __m512bh low = (__m512bh)_mm512_loadu_si512(right + k * kAmxBlock);
        const __m512bh high = (__m512bh)_mm512_loadu_si512(right + kHalf + k * kAmxBlock);
#pragma GCC unroll 8
        for (int i = 0; i < kRows; ++i) {
          const __m512bh pair = (__m512bh)_mm512_set1_epi32(left[i * (kAmxBlock / 2) + k]);
          sum[i][0] = _mm512_dpbf16_ps(sum[i][0], pair, low);
          sum[i][1] = _mm512_dpbf16_ps(sum[i][1], pair, high);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
    _mm512_storeu_ps(c + i * kAmxBlock, sum[i][0]);
    _mm512_storeu_ps(c + i * kAmxBlock + 16, sum[i][1]);
  }
}

void multiply(const AmxProduct& p) {
  constexpr int kRows = 8;
  const int64_t part = p.parts * kAmxBlockCount, rows = (p.rows + 15) / 16 * 16;
  for (int64_t point = 0; point < p.points; ++point) {
    for (int64_t column = 0; column < p.columns; ++column) {
      for (int64_t begin = 0; begin < p.depth; begin += p.depth_step) {
        const int64_t depth = std::min(p.depth_step, p.depth - begin);
        const uint16_t* b = p.b + point * p.b_plane + (column * p.depth + begin) * part;
        for (int64_t row = 0; row < rows; row += kRows) {
          const uint16_t* a = p.a + point * p.a_plane + (row / kAmxBlock * p.depth + begin) * part;
          multiply_rows<kRows>(a + row % kAmxBlock * kAmxBlock, b, depth, p.parts, p.add || begin > 0,
                               p.c + point * p.c_plane + (column * p.c_rows + row) * kAmxBlock);
        }
      }
    }
  }
}

MINIDL_BF16_TARGET void split(const float* values, int64_t rows, int parts, uint16_t* output, int64_t stride) {
  // Words that become the upper halves of the 16 floats that a row of 32 bf16 begins and ends with.
  constexpr __mmask32 kUpper = 0xaaaaaaaa;
  const __m512i to_low = _mm512_slli_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0), 16);
  const __m512i to_high = _mm512_add_epi16(to_low, _mm512_set1_epi16(16));
  for (int64_t row = 0; row < rows; ++row) {
    __m512 low = _mm512_loadu_ps(values + row * kAmxBlock), high = _mm512_loadu_ps(values + row * kAmxBlock + 16);
    for (int part = 0; part < parts; ++part) {
      const __m512i bits = (__m512i)_mm512_cvtne2ps_pbh(high, low);
      _mm512_storeu_si512(output + row * stride + part * kAmxBlockCount, bits);
      low = _mm512_sub_ps(low, _mm512_castsi512_ps(_mm512_maskz_permutexvar_epi16(kUpper, to_low, bits)));
      high = _mm512_sub_ps(high, _mm512_castsi512_ps(_mm512_maskz_permutexvar_epi16(kUpper, to_high, bits)));
    }
  }
}

/// The pairs of rows 2 i and 2 i + 1 side by side.
MINIDL_BF16_TARGET void split_columns(const float* values, int parts, uint16_t* output) {
  for (int64_t pair = 0; pair < kAmxBlock / 2; ++pair) {
    for (int64_t half = 0; half < 2; ++half) {
      const float* rows = values + 2 * pair * kAmxBlock + half * 16;
      __m512 first = _mm512_loadu_ps(rows), second = _mm512_loadu_ps(rows + kAmxBlock);
      for (int part = 0; part < parts; ++part) {
        const __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(first));
        const __m512i high = _mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(second)), 16);
        _mm512_storeu_si512(output + part * kAmxBlockCount + half * kHalf + pair * kAmxBlock,
                            _mm512_or_si512(low, high));
        first = _mm512_sub_ps(first, _mm512_castsi512_ps(_mm512_slli_epi32(low, 16)));
        second = _mm512_sub_ps(second, _mm512_castsi512_ps(high));
      }
    }
  }
}

/// Rows of one block: `a` at the first value of the first, c [kRows, 32].
template <int kRows>
MINIDL_BF16_TARGET void multiply_window_rows(const WindowProduct& p, int64_t begin, int64_t end, const uint16_t* a,
                                             float* c) {
  __m512 sum[kRows][2];
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
    sum[i][0] = begin > 0 ? _mm512_loadu_ps(c + i * kAmxBlock) : _mm512_setzero_ps();
    sum[i][1] = begin > 0 ? _mm512_loadu_ps(c + i * kAmxBlock + 16) : _mm512_setzero_ps();
  }
  for (int64_t step = begin; step < end; ++step) {
    const uint16_t *left = a + p.steps[step].offset, *right = p.filters + step * kAmxBlockCount;
    const int pairs = p.steps[step].pairs;
    for (int k = 0; k < pairs; ++k, left += 2, right += kAmxBlock) {
      const __m512bh low = (__m512bh)_mm512_loadu_si512(right);
      const __m512bh high = (__m512bh)_mm512_loadu_si512(right + kHalf);
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i) {
        int32_t two;
        std::memcpy(&two, left + i * p.pixel, sizeof(two));
        const __m512bh pair = (__m512bh)_mm512_set1_epi32(two);
        sum[i][0] = _mm512_dpbf16_ps(sum[i][0], pair, low);
        sum[i][1] = _mm512_dpbf16_ps(sum[i][1], pair, high);
      }
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
    _mm512_storeu_ps(c + i * kAmxBlock, sum[i][0]);
    _mm512_storeu_ps(c + i * kAmxBlock + 16, sum[i][1]);
  }
}

void multiply_windows(const WindowProduct& p) {
  constexpr int kRows = 8;
  for (int64_t begin = 0; begin < std::max<int64_t>(1, p.depth); begin += p.depth_step) {
    const int64_t end = std::min(p.depth, begin + p.depth_step);
    for (int64_t block = 0; block < p.blocks; ++block) {
      for (int64_t row = 0; row < kAmxBlock; row += kRows)
        multiply_window_rows<kRows>(p, begin, end, p.picture + (p.first[block] + row) * p.pixel,
                                    p.sums + (block * kAmxBlock + row) * kAmxBlock);
    }
  }
}

MINIDL_BF16_TARGET void round_rows(const RowsToRound& rows) {
  constexpr int64_t kAhead = 16;  // rows: those of many channels are too far apart for the processor to fetch in time
  const auto first = [](int64_t count) { return (uint64_t{1} << count) - 1; };
  const auto load = first(rows.count), store = first(rows.width);
  for (int64_t row = 0; row < rows.rows; ++row) {
    const float* values = rows.values + row * rows.stride;
    _mm_prefetch(values + kAhead * rows.stride, _MM_HINT_T0);
    _mm_prefetch(values + kAhead * rows.stride + 16, _MM_HINT_T0);
    const __m512 low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(load), values);
    const __m512 high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(load >> 16), values + 16);
    _mm512_mask_storeu_epi16(rows.output + row * rows.width, static_cast<__mmask32>(store),
                             (__m512i)_mm512_cvtne2ps_pbh(high, low));
  }
}

bool processor_has_them() {
  unsigned a, b, c, d, sub_leaves;
  if (!__get_cpuid_count(7, 0, &sub_leaves, &b, &c, &d)) return false;
  const bool avx512 = bit(b, 16) && bit(b, 30) && bit(b, 31);  // F, BW, VL
  return avx512 && sub_leaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && bit(a, 5);
}

}  // namespace

const AmxBody* bf16_dot_products() {
  static constexpr AmxBody kBody{multiply, split, split_columns, multiply_windows, round_rows};
  static const bool usable = processor_has_them() && system_saves(0b1110'0110);
  return usable ? &kBody : nullptr;
}

}  // namespace minidl::cpu
#else
namespace minidl::cpu {

const AmxBody* bf16_dot_products() {
  return nullptr;
}

}  // namespace minidl::cpu
#endif
