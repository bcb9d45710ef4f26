#pragma once
#include <minidl/kernels/conv2d.h>

namespace minidl::cuda {

/// Matrix products in fp32 over windows that are gathered on the way: every shape, stride and padding.
extern const Conv2dEngine conv2d_simt;

}  // namespace minidl::cuda
