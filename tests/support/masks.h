#pragma once
#include <minidl/kernels/elementwise.h>
#include <support/device.h>

namespace minidl::test {

/// Where x is positive.
inline BitMask positive(const Tensor& x) {
  BitMask mask(x.shape(), x.device());
  ON_DEVICE(positive_mask)(x, mask);
  return mask;
}

}  // namespace minidl::test
