#pragma once
#include <cuda_runtime.h>
#include <minidl/core/error.h>

namespace minidl::cuda {

/// Throws Error with what CUDA says of an error, and takes the error off the thread's record.
[[noreturn]] void fail_call(const char* expression, cudaError_t error, const char* file, int line);

}  // namespace minidl::cuda

/// Throws minidl::Error, with the call and where it stands, unless a call of the CUDA runtime succeeds.
#define MINIDL_CUDA_CHECK(call)                                                            \
  do {                                                                                     \
    if (const cudaError_t minidl_error = (call); minidl_error != cudaSuccess) [[unlikely]] \
      ::minidl::cuda::fail_call(#call, minidl_error, __FILE__, __LINE__);                  \
  } while (false)
