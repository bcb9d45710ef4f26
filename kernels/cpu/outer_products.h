#pragma once
#include <cstdint>

namespace minidl::cpu {

/// A matrix product whose long dimension k comes first in both operands, as pixels do in pictures:
///   sums[i, j] += sum over the spans and their k of a[k * a_stride + i] * b[k * b_stride + j].
/// Nothing is copied: a tile of sums stays in registers while the rows of both operands pass by. What a call adds is
/// summed up apart, so that with many calls of about as many products each the error stays that of short sums.
struct OuterProducts {
  struct Span {
    const float *a, *b;
    int64_t count;  // of k
  };
  const Span* spans = nullptr;
  int64_t span_count = 0;
  int64_t a_stride = 0, b_stride = 0;
  int64_t rows = 0;
  int64_t columns = 0;  // in whole vectors: those of b and of the sums exist as far as the last one reaches
  float* sums = nullptr;
  int64_t sums_stride = 0;
  /// Values of a that many floats further are fetched into the first cache: for tiles to come, when a is not in a cache
  /// and its rows are too far apart for the processor to foresee them.
  int64_t ahead = 0;
};
void add_outer_products(const OuterProducts& product);

}  // namespace minidl::cpu
