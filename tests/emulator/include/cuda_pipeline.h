#pragma once
// Asynchronous copies to shared memory, as the header of the CUDA toolkit has them.
#include <cuda_runtime.h>
#include <emulator/async_copy.h>

__forceinline__ void __pipeline_memcpy_async(void* shared, const void* global, size_t bytes, size_t zeros = 0) {
  minidl::emulator::async_copy::issue(shared, global, bytes, zeros);
}
inline void __pipeline_commit() {
  minidl::emulator::async_copy::commit();
}
inline void __pipeline_wait_prior(size_t groups) {
  minidl::emulator::async_copy::wait_prior(static_cast<int64_t>(groups));
}
