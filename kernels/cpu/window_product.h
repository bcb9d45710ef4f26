#pragma once
#include <cstdint>

namespace minidl::cpu {

/// 32 values of each window that lie together in the picture, `offset` elements after the window's first; filters
/// beyond the first `pairs` of their 16 pairs are zeros.
struct WindowStep {
  int64_t offset;
  int pairs;
};

/// Sums of products of windows of a picture with 32 filters, operands in bf16, sums in f32:
///   sums[b,i,j] = sum over steps and k of picture[(first[b] + i) * pixel + step.offset + k] * filters[step,k,j]
/// for blocks b of 32 windows, each `pixel` elements after the one before, k and j in [0, 32).
struct WindowProduct {
  const uint16_t* picture = nullptr;
  int64_t pixel = 0;
  const int64_t* first = nullptr;  // [blocks]
  int64_t blocks = 0;
  const WindowStep* steps = nullptr;  // [depth]
  int64_t depth = 0;
  int64_t depth_step = 0;             // steps that are multiplied before the next block is
  const uint16_t* filters = nullptr;  // [depth], blocks as those of an AmxProduct's B
  float* sums = nullptr;              // [blocks, 32, 32]
};

/// Rows of `count` floats that become rows of `width` bf16, at most 32, rounded to nearest even; those beyond `count`
/// become zeros.
struct RowsToRound {
  const float* values;
  int64_t stride;  // floats between rows
  int64_t rows, count, width;
  uint16_t* output;  // [rows, width]
};

}  // namespace minidl::cpu
