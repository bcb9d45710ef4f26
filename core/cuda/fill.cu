#include <minidl/core/cuda/backend.h>
#include <minidl/core/cuda/stream.h>
#include <minidl/core/cuda/launch.cuh>

// x[i] = value. One element a thread; count * 4 bytes are written and none read.
namespace minidl::cuda {
namespace {

constexpr int kThreads = 256;

MINIDL_KERNEL(kThreads, fill_kernel, float* x, int64_t count, float value) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < count) store(x + i, value);
}

}  // namespace

void fill(float* x, int64_t count, float value, int index) {
  if (count == 0) return;
  const DeviceScope scope(index);
  MINIDL_LAUNCH(fill_kernel, blocks_for(count, kThreads), kThreads, 0, current_stream(), x, count, value);
}

}  // namespace minidl::cuda
