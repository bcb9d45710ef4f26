#pragma once
#include <minidl/apps/demo/vec3.h>
#include <minidl/core/tensor.h>

#include <cstdint>
#include <vector>

namespace minidl::demo {

/// Means of scale x scale samples: [scale * height][scale * width] colours in [0, 255] to a picture
/// [1, height, width, 3], clamped to that range.
Tensor averaged(const std::vector<Vec3>& samples, int64_t height, int64_t width, int scale);

/// Distance of each sample, in samples, to the nearest one that is marked; very large when none is. Exact: Felzenszwalb
/// and Huttenlocher 2012, "Distance transforms of sampled functions".
std::vector<float> distances_to(const std::vector<char>& marked, int height, int width);

}  // namespace minidl::demo
