#pragma once
#include <minidl/apps/demo/terrain.h>

#include <vector>

namespace minidl::demo {

/// Firs around the lake, painted on upright planes that face the viewer.
class Conifers {
 public:
  /// Plants them where the ground is above the water and not too steep.
  Conifers(const Terrain& terrain, uint32_t seed);

  /// A layer of colour over what is behind it.
  struct Layer {
    Vec3 color{0, 0, 0};  // already multiplied by `cover`
    float cover = 0.0f;
  };
  /// What a ray meets of them before `distance`; `light_of` gives the brightness and colour of a point with a normal,
  /// and `haze` dims what is far away.
  struct Light {
    Vec3 sun, sky, haze;
    float haze_per_unit;
  };
  Layer trace(Vec3 origin, Vec3 direction, float distance, const Light& light) const;
  /// Share of the sun's light that the trees let through to a point on the ground.
  float sunlight(Vec3 point, Vec3 to_sun) const;

 private:
  struct Tree {
    Vec3 foot;
    float height;
    uint32_t seed;
  };

  std::vector<Tree> trees_;  // nearest first
};

}  // namespace minidl::demo
