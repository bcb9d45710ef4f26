#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/cuda/half_formats.cuh>
#include <minidl/kernels/cuda/map.cuh>

// Conversions between f32 and 16 bits. One element a thread, blocks of 256; 6 bytes of traffic each.
namespace minidl::cuda {
namespace {

template <typename Format>
MINIDL_KERNEL(kMapThreads, to_half_kernel, int64_t count, const float* x, uint16_t* halves) {
  const int64_t i = int64_t{blockIdx.x} * kMapThreads + threadIdx.x;
  if (i < count) store(halves + i, Format::bits(load(x + i)));
}

template <typename Format>
MINIDL_KERNEL(kMapThreads, from_half_kernel, int64_t count, const uint16_t* halves, float* x) {
  const int64_t i = int64_t{blockIdx.x} * kMapThreads + threadIdx.x;
  if (i < count) store(x + i, Format::value(load(halves + i)));
}

template <typename Format>
void to(int64_t count, const float* x, uint16_t* halves) {
  if (count == 0) return;
  MINIDL_LAUNCH((to_half_kernel<Format>), blocks_for(count, kMapThreads), kMapThreads, 0, current_stream(), count, x,
                halves);
}

template <typename Format>
void from(int64_t count, const uint16_t* halves, float* x) {
  if (count == 0) return;
  MINIDL_LAUNCH((from_half_kernel<Format>), blocks_for(count, kMapThreads), kMapThreads, 0, current_stream(), count,
                halves, x);
}

}  // namespace

void to_half(int64_t count, const float* x, uint16_t* halves) {
  to<Half>(count, x, halves);
}
void from_half(int64_t count, const uint16_t* halves, float* x) {
  from<Half>(count, halves, x);
}
void to_bf16(int64_t count, const float* x, uint16_t* halves) {
  to<Bf16>(count, x, halves);
}
void from_bf16(int64_t count, const uint16_t* halves, float* x) {
  from<Bf16>(count, halves, x);
}

}  // namespace minidl::cuda
