#include <minidl/apps/demo/camera.h>
#include <minidl/apps/demo/noise.h>
#include <minidl/apps/demo/still_life.h>
#include <minidl/apps/demo/table_scene.h>

namespace minidl::demo {
namespace {

constexpr float kFarthest = 30.0f;
constexpr Vec3 kWindowLight{2.25f, 1.85f, 1.36f};  // of the window at the left
constexpr Vec3 kRoomLight{0.085f, 0.10f, 0.15f};   // from everywhere else

class StillLife {
 public:
  explicit StillLife(uint32_t seed) : seed_(seed), scene_(seed) {}

  /// Light that arrives at `origin` from `direction`; mirrors are followed `bounces` times.
  Vec3 trace(Vec3 origin, Vec3 direction, int bounces) const;

 private:
  Vec3 room(Vec3 direction) const;
  float window_share(Vec3 point, Vec3 to_window) const;
  float open_share(Vec3 point, Vec3 normal) const;
  Vec3 uneven(Vec3 point, Vec3 normal, const Material& material) const;

  uint32_t seed_;
  TableScene scene_;
};

/// What is not in the picture: the dark room, and at the left a window with its cross.
Vec3 StillLife::room(Vec3 direction) const {
  if (direction.x < -0.2f) {
    const float across = direction.z / -direction.x, up = direction.y / -direction.x;
    const bool pane = std::abs(across + 0.35f) < 0.55f && std::abs(up - 0.85f) < 0.60f &&
                      std::abs(across + 0.35f) > 0.05f && std::abs(up - 0.85f) > 0.045f;
    if (pane) return {9.0f, 8.6f, 8.2f};
  }
  return (0.6f + 0.4f * direction.y) * Vec3{0.22f, 0.20f, 0.20f};
}

/// Share of the window that is seen from a point: a soft shadow after how near rays pass by things.
float StillLife::window_share(Vec3 point, Vec3 to_window) const {
  constexpr float kWide = 0.22f;  // tangent of half the window's angle
  float light = 1.0f, t = 0.03f;
  for (int step = 0; step < 56 && t < 9.0f; ++step) {
    const float clearance = scene_.distance(point + t * to_window);
    light = std::min(light, 0.5f + 0.5f * clearance / (kWide * t));
    if (light <= 0.0f) return 0.0f;
    t += std::clamp(std::abs(clearance), 0.03f, 0.5f);
  }
  return light * light * (3.0f - 2.0f * light);
}

/// Share of the half space over a surface that nothing near covers.
float StillLife::open_share(Vec3 point, Vec3 normal) const {
  float covered = 0.0f, weight = 0.9f;
  for (int step = 1; step <= 5; ++step) {
    const float reach = 0.035f * static_cast<float>(step * step);
    covered += weight * std::max(reach - scene_.distance(point + reach * normal), 0.0f) / reach;
    weight *= 0.62f;
  }
  return std::clamp(1.0f - 0.62f * covered, 0.0f, 1.0f);
}

Vec3 StillLife::uneven(Vec3 point, Vec3 normal, const Material& material) const {
  if (material.bump == 0.0f) return normal;
  const Vec3 p = material.bump_pitch * point;
  const NoiseValue a = value_noise(p.x + 0.6f * p.z, p.y, seed_ + 20),
                   b = value_noise(p.y + 5.0f, p.z - 0.6f * p.x, seed_ + 21);
  return normalised(normal +
                    0.22f * material.bump * Vec3{a.along_x - b.along_y, a.along_y + b.along_x, b.along_y - a.along_x});
}

Vec3 StillLife::trace(Vec3 origin, Vec3 direction, int bounces) const {
  const float distance = scene_.intersect(origin, direction, kFarthest);
  if (distance < 0.0f) return room(direction);
  const Vec3 point = origin + distance * direction;
  const Vec3 smooth_normal = scene_.normal(point);
  const Material material = scene_.material(point);
  const Vec3 normal = uneven(point, smooth_normal, material);
  const Vec3 start = point + 0.012f * smooth_normal;

  const Vec3 window{-6.5f, 6.2f, -2.6f};
  const Vec3 to_window = normalised(window - point);
  const float facing = dot(normal, to_window);
  const float wrapped = std::max((facing + material.soft) / (1.0f + material.soft), 0.0f);
  const float direct =
      wrapped > 0.0f ? wrapped * mix(window_share(start, to_window), 1.0f, 0.25f * material.soft) : 0.0f;
  const float near = 60.0f / dot(window - point, window - point);
  const float open = open_share(point, smooth_normal);
  // The bright table gives some of its light back to what stands on it.
  const float from_table = 0.5f - 0.5f * normal.y;
  const Vec3 bounced = open * from_table * std::exp(-0.9f * std::max(point.y, 0.0f)) * Vec3{0.26f, 0.20f, 0.15f};
  Vec3 light = direct * near * kWindowLight + open * (0.6f + 0.4f * normal.y) * kRoomLight + bounced;
  light += open * std::max(dot(normal, normalised({0.9f, 0.35f, -0.5f})), 0.0f) * Vec3{0.06f, 0.075f, 0.12f};
  Vec3 color = material.color * light;
  if (material.gloss > 0.0f) {
    const Vec3 mirrored = direction - 2.0f * dot(direction, normal) * normal;
    const float grazing = std::pow(1.0f - std::max(-dot(direction, normal), 0.0f), 5.0f);
    const float mirror = material.gloss + 0.75f * (1.0f - material.gloss) * grazing;
    const Vec3 seen = bounces > 0 ? trace(start, normalised(mirrored), bounces - 1) : room(normalised(mirrored));
    color = color + mirror * mix(0.4f, 1.0f, open) * seen;
  }
  return color;
}

}  // namespace

Tensor paint_still_life(int64_t height, int64_t width, uint32_t seed) {
  constexpr Vec3 kEye{0.15f, 2.75f, -7.2f};
  constexpr float kFocal = 2.42f, kDown = -0.235f;  // of half the width; slope of the view
  const StillLife still_life(seed);
  return photograph(height, width, [&](float x, float y) {
    return still_life.trace(kEye, normalised({x - 0.02f, y + kFocal * kDown, kFocal - y * kDown}), 1);
  });
}

}  // namespace minidl::demo
