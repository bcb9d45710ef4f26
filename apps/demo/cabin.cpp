#include <minidl/apps/demo/cabin.h>
#include <minidl/apps/demo/noise.h>

namespace minidl::demo {
namespace {

// In units of the cabin: the ridge runs along x.
constexpr Vec3 kBody{0.62f, 0.34f, 0.44f};  // half sides; the floor is y = 0
constexpr float kEaves = 2.0f * kBody.y;
constexpr float kSlope = 0.75f;  // rise of the roof per unit of z
constexpr float kRidge = kEaves + kSlope * kBody.z;
constexpr float kReach = 1.7f;  // of the bounding sphere
constexpr int kSteps = 96;

float box_distance(Vec3 p, Vec3 center, Vec3 half) {
  const Vec3 q{std::abs(p.x - center.x) - half.x, std::abs(p.y - center.y) - half.y, std::abs(p.z - center.z) - half.z};
  const Vec3 outside{std::max(q.x, 0.0f), std::max(q.y, 0.0f), std::max(q.z, 0.0f)};
  return length(outside) + std::min(std::max({q.x, q.y, q.z}), 0.0f);
}

bool inside_rectangle(float u, float v, float center_u, float center_v, float half_u, float half_v) {
  return std::abs(u - center_u) < half_u && std::abs(v - center_v) < half_v;
}

/// Warm light behind panes with a dark cross; nothing outside the window.
bool window(float u, float v, float center_u, float center_v, SurfacePoint& surface) {
  if (!inside_rectangle(u, v, center_u, center_v, 0.125f, 0.145f)) return false;
  const bool frame = !inside_rectangle(u, v, center_u, center_v, 0.105f, 0.125f) || std::abs(u - center_u) < 0.010f ||
                     std::abs(v - center_v) < 0.010f;
  surface.color = frame ? Vec3{0.40f, 0.33f, 0.24f} : Vec3{0.05f, 0.04f, 0.03f};
  if (!frame) surface.glow = (0.8f + 1.2f * (v - center_v + 0.15f)) * Vec3{2.4f, 1.25f, 0.38f};
  return true;
}

}  // namespace

Vec3 Cabin::to_local(Vec3 d) const {
  return {cos_ * d.x + sin_ * d.z, d.y, -sin_ * d.x + cos_ * d.z};
}
Vec3 Cabin::from_local(Vec3 d) const {
  return {cos_ * d.x - sin_ * d.z, d.y, sin_ * d.x + cos_ * d.z};
}

Cabin::Distance Cabin::distance(Vec3 p) const {
  // Walls up to under the roof: a box cut by the two roof planes.
  const float under_roof = (p.y - kRidge + kSlope * std::abs(p.z)) / std::sqrt(1.0f + kSlope * kSlope);
  const float walls = std::max(box_distance(p, {0, 0.3f, 0}, {kBody.x, kRidge, kBody.z}), under_roof);
  // Two slabs, mirrored at the ridge, that overhang the walls.
  const float scale = 1.0f / std::sqrt(1.0f + kSlope * kSlope);
  const float along = scale * (std::abs(p.z) - kSlope * (p.y - kRidge)),
              across = scale * (p.y - kRidge + kSlope * std::abs(p.z));
  const float roof = box_distance({p.x, across, along}, {0, 0.03f, 0.30f}, {kBody.x + 0.13f, 0.035f, 0.40f});
  const float chimney = box_distance(p, {0.33f, kRidge, 0.16f}, {0.075f, 0.26f, 0.075f});
  Distance nearest{walls, Part::wall};
  if (roof < nearest.value) nearest = {roof, Part::roof};
  if (chimney < nearest.value) nearest = {chimney, Part::chimney};
  return nearest;
}

void Cabin::set_material(SurfacePoint& surface, Vec3 p, Vec3 normal, Part part) const {
  const float grain = fractal_noise(9.0f * (p.x + p.z), 60.0f * p.y, 3, 77);
  if (part == Part::roof) {
    const float course = p.z * 14.0f - std::floor(p.z * 14.0f);
    const float shingle =
        lattice_noise(static_cast<int>(std::floor(p.x * 16.0f)), static_cast<int>(std::floor(p.z * 14.0f)), 78);
    surface.color = (0.55f + 0.5f * shingle) * (course < 0.15f ? 0.6f : 1.0f) * Vec3{0.30f, 0.095f, 0.06f};
    return;
  }
  if (part == Part::chimney) {
    surface.color = (0.7f + 0.6f * fractal_noise(20.0f * p.x, 24.0f * p.y, 3, 79)) * Vec3{0.24f, 0.21f, 0.20f};
    return;
  }
  const float log = p.y * 9.0f - std::floor(p.y * 9.0f);  // round logs: dark between them
  surface.color = (0.65f + 0.6f * grain) * (0.55f + 0.9f * log * (1.0f - log) * 2.0f) * Vec3{0.26f, 0.135f, 0.065f};
  const bool gable = std::abs(normal.x) > 0.5f;
  if (gable) {
    if (!window(p.z, p.y, -0.2f, 0.38f, surface)) window(p.z, p.y, 0.2f, 0.38f, surface);
    return;
  }
  if (inside_rectangle(p.x, p.y, 0.02f, 0.25f, 0.11f, 0.25f))
    surface.color = (0.7f + 0.5f * grain) * Vec3{0.05f, 0.11f, 0.10f};
  if (!window(p.x, p.y, -0.34f, 0.36f, surface)) window(p.x, p.y, 0.38f, 0.36f, surface);
}

std::optional<SurfacePoint> Cabin::intersect(Vec3 origin, Vec3 direction) const {
  const Vec3 to_center = foot_ + Vec3{0, 0.6f * size_, 0} - origin;
  const float nearest = dot(to_center, direction);
  const float miss = dot(to_center, to_center) - nearest * nearest;
  const float reach = kReach * size_;
  if (nearest < 0.0f || miss > reach * reach) return {};
  const Vec3 start = (1.0f / size_) * to_local(origin - foot_), along = to_local(direction);
  const float end = nearest / size_ + kReach;
  float t = std::max(nearest / size_ - kReach, 0.0f);
  for (int step = 0; step < kSteps && t < end; ++step) {
    const Vec3 p = start + t * along;
    const Distance here = distance(p);
    if (here.value < 0.001f) {
      const float e = 0.001f;
      const Vec3 normal = normalised({distance(p + Vec3{e, 0, 0}).value - distance(p - Vec3{e, 0, 0}).value,
                                      distance(p + Vec3{0, e, 0}).value - distance(p - Vec3{0, e, 0}).value,
                                      distance(p + Vec3{0, 0, e}).value - distance(p - Vec3{0, 0, e}).value});
      SurfacePoint surface{
          .distance = t * size_, .point = origin + t * size_ * direction, .normal = from_local(normal), .color = {}};
      set_material(surface, p, normal, here.part);
      return surface;
    }
    t += here.value;
  }
  return {};
}

float Cabin::sunlight(Vec3 point, Vec3 to_sun) const {
  const Vec3 start = (1.0f / size_) * to_local(point - foot_), along = to_local(to_sun);
  if (dot(start, start) > 36.0f) return 1.0f;
  float light = 1.0f;
  for (float t = 0.04f; t < 6.0f;) {
    const float clearance = distance(start + t * along).value;
    light = std::min(light, 12.0f * clearance / t);
    if (light <= 0.0f) return 0.0f;
    t += std::max(clearance, 0.02f);
  }
  return light;
}

}  // namespace minidl::demo
