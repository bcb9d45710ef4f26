#pragma once
#include <cstdint>

namespace minidl::test {

/// Work of known size for the current device and its stream: `fmas` dependent multiply-adds in each of 16 chains of
/// every thread of `blocks` blocks of 256. Returns the flops of it. `sink` takes a float for each block.
double run_multiply_adds(int64_t blocks, int64_t fmas, float* sink);

}  // namespace minidl::test
