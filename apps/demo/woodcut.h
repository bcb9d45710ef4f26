#pragma once
#include <minidl/core/tensor.h>

#include <cstdint>

namespace minidl::demo {

/// A colour woodcut: a key block in blue-black, cut with tapering gouge marks that follow a sun's rays, mountains,
/// furrows and cypresses, printed over three colour blocks that show the grain of their wood. [1, height, width, 3],
/// RGB in [0, 255]. Own composition.
Tensor make_woodcut(int64_t height, int64_t width, uint32_t seed);

}  // namespace minidl::demo
