#pragma once
#include <minidl/kernels/cpu/windows.h>

#include <cstdint>

namespace minidl::cpu {

/// The gradient of a convolution's filters: sums over all positions of a window's values times a row of grad_output,
///   grad_weight[k, j] = beta * grad_weight[k, j] + sum over p of grad_output[p, k] * windows[p, j],
/// p = (n, h, w) in [0, positions), j = (r, s, c). Both are read where they lie; only windows over the left or right
/// edge are copied. The same bytes for every number of threads.
struct WindowProducts {
  Windows windows;
  int64_t positions;
  const float* grad_output;
  int64_t out_c;
  float beta;
  float* grad_weight;
};
void window_products(const WindowProducts& products);
int64_t window_products_workspace(const WindowProducts& products);  // bytes, pointers unused

}  // namespace minidl::cpu
