#pragma once
// Maps: output[i] = f(i, x0[i], x1[i], ...) over arrays of equal length, where f is a functor. A thread does four
// neighbours, as one float4 of each array, or a single element when an array is not aligned to 16 bytes.
// Traffic: each array once.
#include <minidl/core/cuda/stream.h>
#include <minidl/kernels/arguments.h>
#include <minidl/core/cuda/launch.cuh>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <type_traits>

namespace minidl::cuda {

inline constexpr int kMapThreads = 256;

template <int kWidth>
MINIDL_DEVICE void load_vector(const float* x, float (&values)[kWidth]) {
  if constexpr (kWidth == 4) {
    const float4 four = load(reinterpret_cast<const float4*>(x));
    values[0] = four.x, values[1] = four.y, values[2] = four.z, values[3] = four.w;
  } else {
    static_assert(kWidth == 1);
    values[0] = load(x);
  }
}

template <int kWidth>
MINIDL_DEVICE void store_vector(float* x, const float (&values)[kWidth]) {
  if constexpr (kWidth == 4) {
    store(reinterpret_cast<float4*>(x), make_float4(values[0], values[1], values[2], values[3]));
  } else {
    static_assert(kWidth == 1);
    store(x, values[0]);
  }
}

MINIDL_DEVICE double load_double(const float* x) {
  return static_cast<double>(load(x));
}
/// Of the bits of a bf16.
MINIDL_DEVICE double load_double(const uint16_t* x) {
  return static_cast<double>(__uint_as_float(static_cast<unsigned>(load(x)) << 16));
}

inline bool is_aligned(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % sizeof(float4) == 0;
}

/// Vectors of four floats where all arrays of a row of channels begin at multiples of 16 bytes.
inline bool takes_vectors(int64_t channels, std::initializer_list<const void*> arrays) {
  return channels % 4 == 0 && std::all_of(arrays.begin(), arrays.end(), is_aligned);
}

/// Calls launch(uint32_t()) or launch(int64_t()): numbers that `count` fits into. Divisions of the former take a tenth
/// of the time.
template <typename Launch>
void with_index(int64_t count, const Launch& launch) {
  count <= INT32_MAX ? launch(uint32_t{}) : launch(int64_t{});
}

/// Calls launch(width) with the elements that a thread does, 4 or 1, as a constant.
template <typename Launch>
void with_width(bool vectors, const Launch& launch) {
  vectors ? launch(std::integral_constant<int, 4>()) : launch(std::integral_constant<int, 1>());
}

template <typename Launch>
void with_index_and_width(int64_t count, bool vectors, const Launch& launch) {
  with_index(count, [&](auto index) { with_width(vectors, [&](auto width) { launch(index, width); }); });
}

/// Of an element's number in [n, h, w, c].
struct Element {
  int64_t n;
  int row, column, channel;
};
template <typename Index>
MINIDL_DEVICE Element element_at(Index i, Index h, Index w, Index c) {
  const Index pixel = i / c, line = pixel / w;
  return {static_cast<int64_t>(line / h), static_cast<int>(line % h), static_cast<int>(pixel % w),
          static_cast<int>(i % c)};
}

/// Zero for -0, too; NaN stays NaN.
MINIDL_DEVICE float relu(float x) {
  return x <= 0.0f ? 0.0f : x;
}
/// NaN and a zero of either sign at a bound stay what they are.
MINIDL_DEVICE float clamped(float x, float low, float high) {
  return x < low ? low : x > high ? high : x;
}

MINIDL_DEVICE float times(const RawFactor& a, float x) {
  const float factor = a.on_device ? a.value * static_cast<float>(load(a.on_device)) : a.value;
  return factor * x;
}

/// Bit i of a mask.
MINIDL_DEVICE bool is_set(const BitSpan& mask, int64_t i) {
  const int64_t bit = mask.first + i;
  return load(mask.bits + bit / 8) >> bit % 8 & 1;
}

/// Writes what a map computes.
struct Output {
  float* output;

  const float* pointer() const { return output; }
  template <int kWidth>
  MINIDL_DEVICE void write(int64_t i, const float (&values)[kWidth]) const {
    store_vector<kWidth>(output + i, values);
  }
};

/// Writes a gradient: grad = beta * grad + (mask ? r : 0).
struct GradientOutput {
  GradTarget target;

  const float* pointer() const { return target.grad; }
  template <int kWidth>
  MINIDL_DEVICE void write(int64_t i, const float (&r)[kWidth]) const {
    float sums[kWidth] = {};
    add<kWidth>(i, r, sums);
    store_vector<kWidth>(target.grad + i, sums);
  }
  /// What it writes, to `sums` of zeros.
  template <int kWidth>
  MINIDL_DEVICE void add(int64_t i, const float (&r)[kWidth], float (&sums)[kWidth]) const {
    if (target.beta != 0.0f) {
      load_vector<kWidth>(target.grad + i, sums);
      for (int k = 0; k < kWidth; ++k) sums[k] *= target.beta;
    }
    const int64_t bit = target.relu_mask.first + i;
    if (target.relu_mask.bits == nullptr) {
      for (int k = 0; k < kWidth; ++k) sums[k] += r[k];
    } else {  // of one byte: the mask is that of a tensor, its first bit is a byte's first
      const unsigned bits = static_cast<unsigned>(load(target.relu_mask.bits + bit / 8)) >> bit % 8;
      for (int k = 0; k < kWidth; ++k) sums[k] += bits >> k & 1 ? r[k] : 0.0f;
    }
  }
};

template <int kInputs>
struct MapInputs {
  const float* x[kInputs];
};

/// kWidth elements from `first` on.
template <int kWidth, int kInputs, typename F, typename Sink>
MINIDL_DEVICE void map_elements(int64_t first, const MapInputs<kInputs>& inputs, const F& f, const Sink& sink) {
  float x[kInputs][kWidth], y[kWidth];
  for (int j = 0; j < kInputs; ++j) load_vector<kWidth>(inputs.x[j] + first, x[j]);
  for (int k = 0; k < kWidth; ++k) {
    float values[kInputs];
    for (int j = 0; j < kInputs; ++j) values[j] = x[j][k];
    y[k] = f(first + k, values);
  }
  sink.template write<kWidth>(first, y);
}

template <int kWidth, int kInputs, typename F, typename Sink>
MINIDL_KERNEL(kMapThreads, map_kernel, int64_t count, MapInputs<kInputs> inputs, F f, Sink sink) {
  const int64_t first = kWidth * (int64_t{blockIdx.x} * kMapThreads + threadIdx.x);
  if (first + kWidth <= count) {
    map_elements<kWidth>(first, inputs, f, sink);
  } else {
    for (int64_t i = first; i < count; ++i) map_elements<1>(i, inputs, f, sink);
  }
}

/// `f(i, x)` is a device function of the index and the values const float (&x)[kInputs]; `sink` an Output or
/// GradientOutput, which may be one of the inputs. With `vectors` false a thread does one element: for an `f` that
/// reads others beside it, which neighbouring threads then do together.
template <int kInputs, typename F, typename Sink>
void map(int64_t count, const MapInputs<kInputs>& inputs, const F& f, const Sink& sink, bool vectors = true) {
  if (count == 0) return;
  bool aligned = vectors && is_aligned(sink.pointer());
  for (const float* x : inputs.x) aligned = aligned && is_aligned(x);
  with_width(aligned, [&](auto width) {
    MINIDL_LAUNCH((map_kernel<width, kInputs, F, Sink>), blocks_for(count, width * kMapThreads), kMapThreads, 0,
                  current_stream(), count, inputs, f, sink);
  });
}

}  // namespace minidl::cuda
