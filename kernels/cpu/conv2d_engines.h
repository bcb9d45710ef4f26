#pragma once
#include <minidl/kernels/conv2d.h>
#include <minidl/kernels/cpu/gemm_kernel.h>

namespace minidl::cpu {

/// Sums in registers, straight from the picture: few channels on one side.
extern const Conv2dEngine conv2d_direct;
/// Sums over windows in bf16, on AMX tiles or the dot products of AVX512-BF16.
extern const Conv2dEngine conv2d_direct_bf16;
/// Products of transformed 4x4 tiles on Intel's AMX tiles, with numbers in two bf16 parts or in three: 3x3 filters with
/// stride 1.
extern const Conv2dEngine conv2d_winograd_amx_tf32, conv2d_winograd_amx;
/// The same with numbers rounded to bf16, on AMX tiles or the dot products of AVX512-BF16.
extern const Conv2dEngine conv2d_winograd_bf16;
/// Products of transformed 4x4 tiles: 3x3 filters with stride 1.
extern const Conv2dEngine conv2d_winograd;
/// Matrix product over windows that are packed straight from the picture.
extern const Conv2dEngine conv2d_im2col;
/// The definition in f64 loops.
extern const Conv2dEngine conv2d_reference;

/// Whether an engine that computes in fp32 serves this grade: one that asks for no more. fp16 is a request for
/// a memory format that this device does not have.
inline bool serves(Precision precision) {
  return precision != Precision::fp16;
}
constexpr const char* kFp32Only = "computes in fp32 only";

/// Whether an engine that writes vectors of output channels can write the mask of its output with them: a byte of the
/// mask must belong to one vector.
inline bool vectors_fill_bytes(const Conv2dDesc& desc) {
  return desc.out_c % 8 == 0 && GemmColumns(desc.out_c).lanes >= 8;
}
inline bool pools_whole_vectors(const Conv2dProblem& problem) {
  return vectors_fill_bytes(problem.desc);
}

}  // namespace minidl::cpu
