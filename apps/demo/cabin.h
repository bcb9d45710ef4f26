#pragma once
#include <minidl/apps/demo/vec3.h>

#include <optional>

namespace minidl::demo {

/// What a ray meets.
struct SurfacePoint {
  float distance;
  Vec3 point, normal;
  Vec3 color;             // reflectance
  Vec3 glow = {0, 0, 0};  // light of its own
};

/// A log cabin with a gabled roof, a chimney and lit windows, as a signed distance field.
class Cabin {
 public:
  /// `foot`: the middle of its floor; `turn`: about the upright axis, in radians.
  Cabin(Vec3 foot, float turn, float size) : foot_(foot), cos_(std::cos(turn)), sin_(std::sin(turn)), size_(size) {}

  std::optional<SurfacePoint> intersect(Vec3 origin, Vec3 direction) const;
  /// Share of the sun's light that passes by, in [0, 1].
  float sunlight(Vec3 point, Vec3 to_sun) const;

 private:
  enum class Part { wall, roof, chimney };
  struct Distance {
    float value;
    Part part;
  };

  Distance distance(Vec3 local) const;
  Vec3 to_local(Vec3 direction) const;
  Vec3 from_local(Vec3 direction) const;
  void set_material(SurfacePoint& surface, Vec3 local, Vec3 local_normal, Part part) const;

  Vec3 foot_;
  float cos_, sin_, size_;
};

}  // namespace minidl::demo
