#pragma once
#include <minidl/core/tensor.h>

#include <cstdint>

namespace minidl::demo {

/// A leaded window with the light behind it: a sun with rays over mountains, hills, a river and flowers, of streaky
/// glass in dark came. [1, height, width, 3], RGB in [0, 255]. Own composition.
Tensor make_stained_glass(int64_t height, int64_t width, uint32_t seed);

}  // namespace minidl::demo
