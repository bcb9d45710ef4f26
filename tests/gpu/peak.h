#pragma once
#include <minidl/kernels/execution.h>

#include <cstdint>

namespace minidl::test {

/// Work of known size for the current device and its stream: `fmas` dependent multiply-adds in each of 16 chains of
/// every thread of `blocks` blocks of 256. Returns the flops of it. `sink` takes a float for each block.
double run_multiply_adds(int64_t blocks, int64_t fmas, float* sink);

/// The same on tensor cores: `products` of fragments at a precision below fp32 in each of 8 chains of every warp.
double run_tensor_products(Precision precision, int64_t blocks, int64_t products, float* sink);

}  // namespace minidl::test
