#pragma once
#include <minidl/kernels/elementwise.h>

namespace minidl::test {

/// Where x is positive.
inline BitMask positive(const Tensor& x) {
  BitMask mask(x.shape(), x.device());
  positive_mask(x, mask);
  return mask;
}

}  // namespace minidl::test
