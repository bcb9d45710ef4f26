#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <span>

/// The end of symmetric products of windows with themselves, as of Gram matrices: their parts are added, mirrored and
/// compared with targets, those of many matrices in one launch.
namespace minidl::cuda {

/// output [rows, rows] = factor * (scale * (the sum of partials [parts, rows, pitch], in order, in f64) - target),
/// where what is above the diagonal is that below.
struct MirroredSum {
  const float* partials = nullptr;
  int parts = 0, rows = 0, pitch = 0;
  float scale = 1.0f;
  const float* target = nullptr;  // nullptr: nothing is taken off, and factor is 1
  float factor = 1.0f;
  int term = 0;  // to whose squares those of the difference belong
  float* output = nullptr;
  uint16_t* rounded = nullptr;  // the output once more, in bf16
};

/// squares[term] = the sum of squares of (scale * sum - target) over the sums of a term, which follow one another;
/// nullptr: nobody asks. Terms are numbered from 0 on, and have at least one sum each.
void mirrored_sums(std::span<const MirroredSum> sums, double* squares, cudaStream_t stream);

}  // namespace minidl::cuda
