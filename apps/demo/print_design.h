#pragma once
#include <minidl/apps/demo/vec3.h>

#include <cstdint>

namespace minidl::demo {

/// What the cutter does at a point of the block.
struct Cut {
  uint32_t region;  // gouge marks end where another one begins, which leaves an outline
  float light;      // share of the wood that is cut away, in [0, 1]
  float spacing;    // between gouge marks, in units of the height
  Vec3 along;       // direction of the marks; z is not used
  Vec3 color;       // of the colour blocks, in [0, 255]
};

/// What the print shows. Coordinates in units of its height, from the upper left corner.
class PrintDesign {
 public:
  PrintDesign(float width, uint32_t seed) : width_(width), seed_(seed) {}

  Cut cut_at(float x, float y) const;

 private:
  float outline(float x, int number) const;
  Cut sky(float x, float y) const;
  Cut mountain(float x, float y, int number) const;
  Cut field(float x, float y, int number) const;
  bool cypress(float x, float y, Cut& cut) const;

  float width_;
  uint32_t seed_;
};

}  // namespace minidl::demo
