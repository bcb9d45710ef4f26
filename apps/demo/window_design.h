#pragma once
#include <minidl/apps/demo/vec3.h>

#include <cstdint>

namespace minidl::demo {

/// One piece of glass, as seen from a point of it.
struct Pane {
  uint32_t region;  // part of the picture; wide lead runs between two of them
  uint32_t piece;   // of the region; narrow lead
  Vec3 from, to;    // colours that its streaks mix, in [0, 255]
  float streak;     // direction of the streaks in radians
};

/// What the window shows. Coordinates in units of its height, from the upper left corner.
class WindowDesign {
 public:
  WindowDesign(float width, uint32_t seed) : width_(width), seed_(seed) {}

  Pane pane_at(float x, float y) const;
  /// Strength of the light behind the glass.
  float light_at(float x, float y) const;

 private:
  struct Place {
    float u, v;
    uint32_t seed;
    int period = 0;  // of u; 0: none
  };
  uint32_t piece_of(Place place) const;
  Pane sky(float x, float y, float distance, float angle) const;
  bool flower(float x, float y, Pane& pane) const;
  bool blade(float x, float y, Pane& pane) const;
  bool tree(float x, float y, Pane& pane) const;
  bool land(float x, float y, Pane& pane) const;
  float chance(uint32_t piece, uint32_t number) const;

  float width_;
  uint32_t seed_;
};

}  // namespace minidl::demo
