#pragma once
#include <algorithm>
#include <cmath>

namespace minidl::demo {

/// A point, a direction or a colour in linear light.
struct Vec3 {
  float x = 0.0f, y = 0.0f, z = 0.0f;

  friend Vec3 operator+(Vec3 a, Vec3 b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
  friend Vec3 operator-(Vec3 a, Vec3 b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
  friend Vec3 operator*(Vec3 a, Vec3 b) { return {a.x * b.x, a.y * b.y, a.z * b.z}; }
  friend Vec3 operator*(float s, Vec3 a) { return {s * a.x, s * a.y, s * a.z}; }
  Vec3& operator+=(Vec3 b) { return *this = *this + b; }
};

inline float dot(Vec3 a, Vec3 b) {
  return a.x * b.x + a.y * b.y + a.z * b.z;
}
inline float length(Vec3 a) {
  return std::sqrt(dot(a, a));
}
inline Vec3 normalised(Vec3 a) {
  return (1.0f / length(a)) * a;
}
inline Vec3 mix(Vec3 a, Vec3 b, float share) {
  return (1.0f - share) * a + share * b;
}
inline float mix(float a, float b, float share) {
  return (1.0f - share) * a + share * b;
}

/// 0 below `low`, 1 above `high`, a cubic between.
inline float smooth_step(float low, float high, float value) {
  const float t = std::clamp((value - low) / (high - low), 0.0f, 1.0f);
  return t * t * (3.0f - 2.0f * t);
}

}  // namespace minidl::demo
