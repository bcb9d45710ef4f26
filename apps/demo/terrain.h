#pragma once
#include <minidl/apps/demo/vec3.h>

#include <cstdint>
#include <vector>

namespace minidl::demo {

/// Ground around the lake: x right, y up, z away from the viewer; the water's surface is y = 0.
class Terrain {
 public:
  explicit Terrain(uint32_t seed);

  float height(float x, float z) const;
  Vec3 normal(float x, float z, float distance) const;
  /// Distance along the ray at which it meets the ground, or a negative number.
  float intersect(Vec3 origin, Vec3 direction) const;
  /// Share of the sun's light that arrives, in [0, 1].
  float sunlight(Vec3 point, Vec3 to_sun) const;
  /// Reflectance: grass, forest, rock, snow or sand by height and slope.
  Vec3 color(Vec3 point, Vec3 normal) const;

 private:
  float exact_height(float x, float z, int octaves) const;

  uint32_t seed_;
  std::vector<float> samples_;  // heights on a grid, row by row away from the viewer
};

}  // namespace minidl::demo
