#pragma once
#include <minidl/apps/demo/vec3.h>
#include <minidl/core/tensor.h>

#include <cstdint>
#include <functional>

namespace minidl::demo {

/// A picture [1, height, width, 3], RGB in [0, 255]. `light_from(x, y)` is the linear light that arrives from a place
/// of the image plane: x from -1 to 1, y upwards from its middle in the same units. It is called by several threads.
Tensor photograph(int64_t height, int64_t width, const std::function<Vec3(float x, float y)>& light_from);

}  // namespace minidl::demo
