#include <gpu/peak.h>
#include <minidl/core/cuda/stream.h>
#include <minidl/core/cuda/launch.cuh>

// Multiply-adds in registers: what the fp32 units do when nothing else holds them up.
namespace minidl::test {
namespace {

using cuda::multiply_add;
using cuda::store;

constexpr int kThreads = 256, kChains = 16;

MINIDL_KERNEL(kThreads, multiply_adds_kernel, int64_t fmas, float factor, float* sink) {
  float chains[kChains];
  for (int i = 0; i < kChains; ++i) chains[i] = static_cast<float>(threadIdx.x + static_cast<unsigned>(i));
  for (int64_t k = 0; k < fmas; ++k) {
    MINIDL_UNROLL
    for (int i = 0; i < kChains; ++i) chains[i] = multiply_add(chains[i], factor, 1.0f);
  }
  float sum = 0.0f;
  for (int i = 0; i < kChains; ++i) sum += chains[i];
  if (threadIdx.x == 0) store(sink + blockIdx.x, sum);
}

}  // namespace

double run_multiply_adds(int64_t blocks, int64_t fmas, float* sink) {
  MINIDL_LAUNCH(multiply_adds_kernel, cuda::blocks_for(blocks, 1), kThreads, 0, cuda::current_stream(), fmas, 0.999f,
                sink);
  return 2.0 * static_cast<double>(blocks * kThreads * kChains) * static_cast<double>(fmas);
}

}  // namespace minidl::test
