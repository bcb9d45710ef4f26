#pragma once
#include <minidl/apps/demo/vec3.h>

#include <cstdint>
#include <vector>

namespace minidl::demo {

/// One stroke: a path of points at most half a pixel apart.
struct Stroke {
  std::vector<Vec3> path;  // x, y in pixels; z is not used
  float width;             // pixels
  Vec3 color;              // in [0, 255]
  uint32_t seed;           // of the bristles
};

/// A canvas that keeps colour and thickness of the paint.
class Canvas {
 public:
  Canvas(int height, int width, Vec3 ground);

  /// Lays a stroke: bristles leave streaks of lighter and darker paint, which is thick at the stroke's sides and runs
  /// out at its end.
  void paint(const Stroke& stroke);
  /// Colour of a pixel with the light that falls from the upper left over the relief.
  Vec3 lit_color(int y, int x) const;

 private:
  float thickness_at(int y, int x) const;

  int height_, width_;
  std::vector<Vec3> color_;
  std::vector<float> thickness_;
};

}  // namespace minidl::demo
