#pragma once
#include <cuda_runtime.h>

#include <cstdint>

namespace minidl::cuda {

/// The taps of a weight [out_c, k_h, k_w, in_c] that convolutions backward use: r = first_h + step_h * i for i <
/// count_h, likewise s.
struct Taps {
  int out_c, k_h, k_w, in_c;
  int first_h = 0, step_h = 1, count_h;
  int first_w = 0, step_w = 1, count_w;
};

/// packed[c, i, j, k] = weight[k, r, s, c] with the taps in reverse: i = 0 is the last r. packed [in_c, count_h,
/// count_w, out_c].
void pack_reversed(const Taps& taps, const float* weight, float* packed, cudaStream_t stream);

}  // namespace minidl::cuda
