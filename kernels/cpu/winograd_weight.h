#pragma once
#include <minidl/kernels/conv2d.h>

#include <cstdint>

namespace minidl::cpu {

// The gradient of the filters of F(4x4, 3x3), WinogradConv's adjoint in the filter:
//   grad_weight = Gᵀ [ sum over the tiles of (A grad_output tile Aᵀ) * (Bᵀ input tile B) ] G.

/// A y Aᵀ of one tile of grad_output [n, h, w, channels], which is zero beyond its edges: values[point * plane + k].
struct WinogradGrads {
  const float* grad_output;
  int64_t h, w, channels;
};
void winograd_grads(const WinogradGrads& grads, int64_t tile, float* values, int64_t plane);

/// weight[k, r, s, c] = beta * weight + (Gᵀ m G)[r, s] of one filter k, where m[point] at channel c is the sum over the
/// slices of sums[slice * slice_stride + point * plane + c].
struct WinogradSums {
  const float* sums;
  int64_t slices, slice_stride, plane;
};
void winograd_weight(const WinogradSums& of, int64_t channels, float beta, float* weight);

/// conv2d's backward_weight for 3x3 filters with stride 1.
void winograd_backward_weight(const Conv2dDesc& desc, const Conv2dBackwardWeightArgs& args);
int64_t winograd_backward_weight_workspace(const Conv2dDesc& desc);  // floats

}  // namespace minidl::cpu
