#pragma once
#include <minidl/kernels/conv2d.h>

namespace minidl::cuda {

/// Whether windows see more than zeros beyond the input.
inline bool is_continued(const Padding& padding) {
  return padding.mode != Padding::Mode::zero && padding.any();
}

/// The same convolution of the continued picture.
inline Conv2dDesc continued(const Conv2dDesc& d) {
  const Padding& padding = d.window.padding;
  Conv2dDesc result = d;
  result.in_h += padding.top + padding.bottom;
  result.in_w += padding.left + padding.right;
  result.window.padding = {};
  return result;
}

}  // namespace minidl::cuda
