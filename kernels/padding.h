#pragma once
#include <cstdint>
#include <string>

namespace minidl {

/// What a window sees outside its input, and by how many pixels it reaches out on each side (>= 0).
/// reflect repeats without the border pixel (index -1 is 1), again and again when the pad is as large as the input (a single row or column
/// repeats itself); replicate repeats the border pixel.
struct Padding {
  enum class Mode { zero, reflect, replicate };

  Mode mode = Mode::zero;
  int64_t top = 0, bottom = 0, left = 0, right = 0;

  static Padding zero(int64_t pad) { return {Mode::zero, pad, pad, pad, pad}; }
  static Padding reflect(int64_t pad) { return {Mode::reflect, pad, pad, pad, pad}; }
  static Padding replicate(int64_t pad) { return {Mode::replicate, pad, pad, pad, pad}; }

  bool any() const { return top || bottom || left || right; }
  std::string str() const;
  friend bool operator==(const Padding&, const Padding&) = default;
};

/// Index in [0, extent) that position `i` (any integer) reads along an axis of `extent` >= 1 pixels, or -1 where it reads zero.
int64_t padded_index(int64_t i, int64_t extent, Padding::Mode mode);

}  // namespace minidl
