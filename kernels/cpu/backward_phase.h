#pragma once
#include <algorithm>
#include <cstdint>

namespace minidl::cpu {

/// One axis of backward-data. Input position i (counted from the first padded one when `top` is 0) is read through tap
/// r by window h when i + top = h * stride + r. Positions of one phase, (i + top) mod stride = phase, are read by taps
/// r = phase + stride * q only, so that each phase is a convolution of grad_output with stride 1: position i = stride *
/// t + phase - top reads h = t - q.
struct BackwardPhase {
  int64_t stride, phase, top;
  int64_t taps;   // q in [0, taps)
  int64_t begin;  // t of the first position
  int64_t count;  // positions

  BackwardPhase(int64_t which, int64_t stride_, int64_t kernel, int64_t top_, int64_t extent)
      : stride(stride_),
        phase(which),
        top(top_),
        taps(std::max<int64_t>(0, ceil_div(kernel - phase, stride))),
        begin(top > phase ? ceil_div(top - phase, stride) : 0),
        count(std::max<int64_t>(0, ceil_div(extent + top - phase, stride) - begin)) {}

  int64_t position(int64_t index) const { return stride * (begin + index) + phase - top; }
  int64_t tap(int64_t reversed) const { return phase + stride * (taps - 1 - reversed); }
  int64_t pad() const { return taps - 1 - begin; }  // position 0 begins to read at row -pad of grad_output

 private:
  static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
};

}  // namespace minidl::cpu
