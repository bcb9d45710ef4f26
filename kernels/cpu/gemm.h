#pragma once
#include <minidl/kernels/cpu/packed_gemm.h>
#include <minidl/kernels/gemm.h>

namespace minidl::cpu {

/// The product of two matrices in memory, written by the epilogue (whose alpha and beta count, not those of the
/// description).
void gemm(const GemmDesc& desc, const float* a, const float* b, const GemmEpilogue& epilogue);

}  // namespace minidl::cpu
