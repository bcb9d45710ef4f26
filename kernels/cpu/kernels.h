#pragma once
#include <minidl/kernels/dispatch.h>

#include <cstdint>

/// CPU implementations behind kernels/<op>.h: those of kernels/operations.inc.
namespace minidl::cpu {

/// Elements per chunk of an elementwise pass: the arrays of one chunk stay in the L2 cache.
inline constexpr int64_t kGrain = 16384;

}  // namespace minidl::cpu
