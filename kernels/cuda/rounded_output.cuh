#pragma once
// Elements of operands, and sinks of maps (map.cuh) whose results are left as operands of 16 bits, too
// (rounded_results.h).
#include <minidl/kernels/cuda/half_formats.cuh>
#include <minidl/kernels/cuda/map.cuh>

#include <type_traits>

namespace minidl::cuda {

/// Calls use(Format()) with what rounds to `dtype`, bf16 or f16.
template <typename Use>
void with_half_format(Dtype dtype, const Use& use) {
  dtype == Dtype::bf16 ? use(Bf16()) : use(Half());
}
/// Or f32.
template <typename Use>
void with_format(Dtype dtype, const Use& use) {
  dtype == Dtype::f32 ? use(Fp32()) : with_half_format(dtype, use);
}

template <typename Format, int kWidth>
MINIDL_DEVICE void store_rounded(typename Format::Element* rounded, const float (&values)[kWidth]) {
  if constexpr (std::is_same_v<Format, Fp32>) {
    store_vector<kWidth>(rounded, values);
  } else if constexpr (kWidth == 4) {
    store(reinterpret_cast<ushort4*>(rounded),
          ushort4{Format::bits(values[0]), Format::bits(values[1]), Format::bits(values[2]), Format::bits(values[3])});
  } else {
    store(rounded, Format::bits(values[0]));
  }
}

/// Writes what a map computes rounded by Format, and as it is, unless `output` is nullptr.
template <typename Format>
struct RoundedOutput {
  float* output;
  uint16_t* rounded;

  template <int kWidth>
  MINIDL_DEVICE void write(int64_t i, const float (&values)[kWidth]) const {
    if (output) store_vector<kWidth>(output + i, values);
    store_rounded<Format>(rounded + i, values);
  }
};
/// The same of a gradient.
template <typename Format>
struct RoundedGradient {
  GradientOutput exact;
  uint16_t* rounded;

  template <int kWidth>
  MINIDL_DEVICE void write(int64_t i, const float (&r)[kWidth]) const {
    float sums[kWidth] = {};
    exact.add<kWidth>(i, r, sums);
    store_vector<kWidth>(exact.target.grad + i, sums);
    store_rounded<Format>(rounded + i, sums);
  }
};

}  // namespace minidl::cuda
