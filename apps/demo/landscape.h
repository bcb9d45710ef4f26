#pragma once
#include <minidl/core/tensor.h>

#include <cstdint>

namespace minidl::demo {

/// A rendered view of a mountain lake in evening light: sky and clouds, snow-capped mountains, conifers, a cabin, and
/// their reflection in the water. [1, height, width, 3], RGB in [0, 255]; the same for every number of threads.
Tensor paint_landscape(int64_t height, int64_t width, uint32_t seed);

}  // namespace minidl::demo
