#pragma once
#include <minidl/apps/demo/vec3.h>

#include <array>

namespace minidl::demo {

/// Linear between the entries, `place` in [0, 1].
template <size_t N>
Vec3 pick(const std::array<Vec3, N>& palette, float place) {
  const float position = std::clamp(place, 0.0f, 1.0f) * static_cast<float>(N - 1);
  const size_t below = std::min(static_cast<size_t>(position), N - 2);
  return mix(palette[below], palette[below + 1], position - static_cast<float>(below));
}

}  // namespace minidl::demo
