#pragma once
#include <minidl/core/tensor.h>

#include <cstdint>

namespace minidl::demo {

/// A rendered still life in the light of a window: a bottle, a painted jug, fruit in a bowl and on a cloth.
/// [1, height, width, 3], RGB in [0, 255]; the same for every number of threads.
Tensor paint_still_life(int64_t height, int64_t width, uint32_t seed);

}  // namespace minidl::demo
