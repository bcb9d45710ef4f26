#pragma once
#include <minidl/apps/demo/vec3.h>

#include <cstdint>
#include <vector>

namespace minidl::demo {

/// What a surface does with light.
struct Material {
  Vec3 color;       // reflectance
  float gloss = 0;  // share of a mirror at a steep angle
  float soft = 0;   // light that passes through thin flesh, 0 to 1
  float bump = 0;   // unevenness of the normal
  float bump_pitch = 1;
};

/// The things on the table as signed distances: x right, y up, z away from the viewer; the table is about y = 0.
class TableScene {
 public:
  explicit TableScene(uint32_t seed);

  /// To the nearest surface.
  float distance(Vec3 point) const { return nearest(point).distance; }
  Vec3 normal(Vec3 point) const;
  Material material(Vec3 point) const;
  /// Distance along the ray at which it meets something, or a negative number.
  float intersect(Vec3 origin, Vec3 direction, float farthest) const;

 private:
  enum class Kind { table, wall, bottle, jug, bowl, apple, pear, orange, lemon, grapes };
  struct Thing {
    Kind kind;
    Vec3 place;
    float size, tilt, turn;  // tilt: to the right, about z; turn: about the upright axis; in radians
    float bound;             // radius of a sphere around `middle` of the unit thing
    Vec3 middle;
    uint32_t seed;
  };
  struct Hit {
    float distance;
    const Thing* thing;  // nullptr: table or wall
    Kind kind;
  };

  Hit nearest(Vec3 point) const;
  Vec3 to_local(const Thing& thing, Vec3 point) const;
  float shape_distance(const Thing& thing, Vec3 local) const;
  float table_height(float x, float z) const;
  /// Along the threads of the cloth.
  struct ClothPlace {
    float u, v;
    float to_hem;  // of the sides that are seen, before it waves
  };
  static ClothPlace cloth_place(float x, float z);
  float cloth_at(float x, float z) const;
  Material table_material(Vec3 point) const;
  Material wall_material(Vec3 point) const;
  Material thing_material(const Thing& thing, Vec3 local) const;

  uint32_t seed_;
  std::vector<Thing> things_;
  std::vector<Vec3> grapes_;
};

}  // namespace minidl::demo
