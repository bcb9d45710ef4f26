#pragma once
// What kernels may call by CUDA's names. Where threads meet, the place in the source is taken down, so that it can be
// compared and reported.
#include <emulator/block.h>
#include <emulator/counters.h>
#include <emulator/mma.h>
#include <emulator/warp.h>

#include <bit>
#include <cmath>
#include <concepts>
#include <type_traits>

#define __host__
#define __device__
#define __forceinline__ inline __attribute__((always_inline))

using uint3 = minidl::emulator::Index3;
struct dim3 : minidl::emulator::Index3 {
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : Index3{x_, y_, z_} {}
};
extern constinit thread_local minidl::emulator::Index3 threadIdx, blockIdx, blockDim, gridDim;
inline constexpr int warpSize = minidl::emulator::kWarpSize;

struct alignas(8) float2 {
  float x, y;
};
struct float3 {
  float x, y, z;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(4) ushort2 {
  unsigned short x, y;
};
struct alignas(8) ushort4 {
  unsigned short x, y, z, w;
};
inline float2 make_float2(float x, float y) {
  return {x, y};
}
inline float3 make_float3(float x, float y, float z) {
  return {x, y, z};
}
inline float4 make_float4(float x, float y, float z, float w) {
  return {x, y, z, w};
}
inline int2 make_int2(int x, int y) {
  return {x, y};
}
inline int4 make_int4(int x, int y, int z, int w) {
  return {x, y, z, w};
}
inline uint2 make_uint2(unsigned x, unsigned y) {
  return {x, y};
}
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) {
  return {x, y, z, w};
}

inline void __syncthreads(minidl::emulator::Location location = minidl::emulator::Location::current()) {
  minidl::emulator::current_block->barrier(location);
}
inline void __threadfence() {
  minidl::emulator::race::fence();
}
inline void __syncwarp(unsigned mask = minidl::emulator::kAllLanes,
                       minidl::emulator::Location location = minidl::emulator::Location::current()) {
  minidl::emulator::current_block->sync_warp(mask, location);
}

template <typename T>
T __shfl_sync(unsigned mask, T value, int lane, int width = warpSize,
              minidl::emulator::Location location = minidl::emulator::Location::current()) {
  return minidl::emulator::shuffle(mask, value, minidl::emulator::lane_in_segment(lane, width), location);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize,
                 minidl::emulator::Location location = minidl::emulator::Location::current()) {
  return minidl::emulator::shuffle(mask, value, minidl::emulator::lane_below(delta, width), location);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize,
                   minidl::emulator::Location location = minidl::emulator::Location::current()) {
  return minidl::emulator::shuffle(mask, value, minidl::emulator::lane_above(delta, width), location);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = warpSize,
                  minidl::emulator::Location location = minidl::emulator::Location::current()) {
  return minidl::emulator::shuffle(mask, value, minidl::emulator::lane_xor(bits, width), location);
}
inline unsigned __ballot_sync(unsigned mask, int predicate,
                              minidl::emulator::Location location = minidl::emulator::Location::current()) {
  return minidl::emulator::ballot(mask, predicate != 0, location).yes;
}
inline int __any_sync(unsigned mask, int predicate,
                      minidl::emulator::Location location = minidl::emulator::Location::current()) {
  return minidl::emulator::ballot(mask, predicate != 0, location).yes != 0;
}
inline int __all_sync(unsigned mask, int predicate,
                      minidl::emulator::Location location = minidl::emulator::Location::current()) {
  const minidl::emulator::Ballot votes = minidl::emulator::ballot(mask, predicate != 0, location);
  return votes.yes == votes.lanes;
}

#define MINIDL_EMULATOR_REDUCE(name, type, operation)                                             \
  inline type name(unsigned mask, type value,                                                     \
                   minidl::emulator::Location location = minidl::emulator::Location::current()) { \
    return minidl::emulator::reduce<type>(                                                        \
        mask, value, [](type a, type b) -> type { return operation; }, location);                 \
  }
MINIDL_EMULATOR_REDUCE(__reduce_add_sync, unsigned, a + b)
MINIDL_EMULATOR_REDUCE(__reduce_min_sync, unsigned, a < b ? a : b)
MINIDL_EMULATOR_REDUCE(__reduce_max_sync, unsigned, a < b ? b : a)
MINIDL_EMULATOR_REDUCE(__reduce_and_sync, unsigned, a& b)
MINIDL_EMULATOR_REDUCE(__reduce_or_sync, unsigned, a | b)
MINIDL_EMULATOR_REDUCE(__reduce_xor_sync, unsigned, a ^ b)
MINIDL_EMULATOR_REDUCE(__reduce_add_sync, int, static_cast<int>(static_cast<unsigned>(a) + static_cast<unsigned>(b)))
MINIDL_EMULATOR_REDUCE(__reduce_min_sync, int, a < b ? a : b)
MINIDL_EMULATOR_REDUCE(__reduce_max_sync, int, a < b ? b : a)
#undef MINIDL_EMULATOR_REDUCE

// Blocks and threads run one at a time, so an atomic operation is a plain one that the race detector knows about. T as
// CUDA has it: the second argument does not take part in the deduction.
template <typename T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  return minidl::emulator::atomic(address, [=](T old) { return static_cast<T>(old + value); });
}
template <typename T>
T atomicMin(T* address, std::type_identity_t<T> value) {
  return minidl::emulator::atomic(address, [=](T old) { return old < value ? old : value; });
}
template <typename T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  return minidl::emulator::atomic(address, [=](T old) { return old < value ? value : old; });
}
template <typename T>
T atomicExch(T* address, std::type_identity_t<T> value) {
  return minidl::emulator::atomic(address, [=](T) { return value; });
}
template <typename T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return minidl::emulator::atomic(address, [=](T old) { return old == expected ? value : old; });
}

inline float __fmaf_rn(float a, float b, float c) {
  minidl::emulator::counters::flops(2);
  return std::fma(a, b, c);
}
inline float __int_as_float(int bits) {
  return std::bit_cast<float>(bits);
}
inline int __float_as_int(float value) {
  return std::bit_cast<int>(value);
}
inline float __uint_as_float(unsigned bits) {
  return std::bit_cast<float>(bits);
}
inline unsigned __float_as_uint(float value) {
  return std::bit_cast<unsigned>(value);
}
inline double __longlong_as_double(long long bits) {
  return std::bit_cast<double>(bits);
}
inline long long __double_as_longlong(double value) {
  return std::bit_cast<long long>(value);
}
inline int __popc(unsigned bits) {
  return std::popcount(bits);
}
template <std::integral T>
T min(T a, T b) {
  return a < b ? a : b;
}
template <std::integral T>
T max(T a, T b) {
  return a < b ? b : a;
}
inline float rsqrtf(float value) {
  return 1.0f / std::sqrt(value);
}
