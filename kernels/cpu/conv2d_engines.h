#pragma once
#include <minidl/kernels/conv2d.h>

namespace minidl::cpu {

/// Products of transformed 4x4 tiles: 3x3 filters with stride 1.
extern const Conv2dEngine conv2d_winograd;
/// Matrix product over windows that are packed straight from the picture.
extern const Conv2dEngine conv2d_im2col;
/// The definition in f64 loops.
extern const Conv2dEngine conv2d_reference;

}  // namespace minidl::cpu
