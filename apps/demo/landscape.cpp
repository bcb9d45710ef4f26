#include <minidl/apps/demo/cabin.h>
#include <minidl/apps/demo/camera.h>
#include <minidl/apps/demo/conifers.h>
#include <minidl/apps/demo/landscape.h>
#include <minidl/apps/demo/noise.h>
#include <minidl/apps/demo/terrain.h>

namespace minidl::demo {
namespace {

constexpr float kHazePerUnit = 0.0085f;
constexpr Vec3 kSunColor{2.9f, 1.95f, 1.05f};
constexpr Vec3 kSkyLight{0.42f, 0.50f, 0.72f};

class Landscape {
 public:
  explicit Landscape(uint32_t seed)
      : seed_(seed),
        terrain_(seed),
        conifers_(terrain_, seed),
        cabin_({2.55f, terrain_.height(2.55f, 8.6f) - 0.05f, 8.6f}, -0.5f, 1.05f) {}

  /// Light that arrives at `origin` from `direction`.
  Vec3 trace(Vec3 origin, Vec3 direction) const {
    const float to_ground = terrain_.intersect(origin, direction);
    const float to_water = direction.y < 0.0f ? -origin.y / direction.y : -1.0f;
    if (to_water > 0.0f && (to_ground < 0.0f || to_ground > to_water)) return over_water(origin, direction, to_water);
    return above_water(origin, direction, to_ground);
  }

 private:
  Vec3 sky(Vec3 direction) const;
  Vec3 haze(Vec3 direction) const;
  Vec3 lit(const SurfacePoint& surface) const;
  Vec3 above_water(Vec3 origin, Vec3 direction, float to_ground) const;
  Vec3 over_water(Vec3 origin, Vec3 direction, float distance) const;

  // The disc stands low at the left; what it lights is lit from further aside, so that slopes facing the viewer are not
  // all in shade.
  const Vec3 disc_ = normalised({-0.44f, 0.40f, 1.0f});
  const Vec3 to_sun_ = normalised({-1.0f, 0.46f, -0.10f});
  uint32_t seed_;
  Terrain terrain_;
  Conifers conifers_;
  Cabin cabin_;
};

Vec3 Landscape::haze(Vec3 direction) const {
  const float towards_sun =
      std::max(dot(normalised({direction.x, 0.0f, direction.z}), normalised({disc_.x, 0.0f, disc_.z})), 0.0f);
  return mix(Vec3{0.46f, 0.50f, 0.66f}, Vec3{1.25f, 0.70f, 0.36f}, std::pow(towards_sun, 6.0f));
}

Vec3 Landscape::sky(Vec3 direction) const {
  const float up = std::max(direction.y, 0.0f);
  const float towards_sun = std::max(dot(direction, disc_), 0.0f);
  Vec3 color = mix(Vec3{0.62f, 0.58f, 0.66f}, Vec3{0.10f, 0.21f, 0.52f}, smooth_step(0.0f, 0.55f, up));
  color = mix(color, {1.50f, 0.78f, 0.36f}, std::pow(towards_sun, 5.0f) * smooth_step(0.50f, 0.0f, up));
  color += std::pow(towards_sun, 60.0f) * Vec3{0.9f, 0.55f, 0.25f};
  color += smooth_step(0.99935f, 0.99965f, towards_sun) * Vec3{9.0f, 6.5f, 3.4f};
  // Clouds on a plane high above, stretched by perspective; brighter on the side of the sun.
  const float scale = 1.5f / (direction.y + 0.10f);
  const float x = direction.x * scale + 4.7f, z = direction.z * scale + 0.8f;
  const float density = fractal_noise(0.55f * x, 1.25f * z, 6, seed_ + 21);
  const float towards = fractal_noise(0.55f * (x - 0.22f), 1.25f * z, 6, seed_ + 21);
  const float cover = smooth_step(0.47f, 0.72f, density) * smooth_step(0.015f, 0.12f, up);
  const float bright = std::clamp(0.5f + 3.5f * (density - towards), 0.0f, 1.0f);
  const Vec3 shade = mix(Vec3{0.42f, 0.36f, 0.46f}, Vec3{1.55f, 0.92f, 0.62f}, bright);
  const Vec3 cloud = mix(shade, Vec3{2.0f, 1.15f, 0.55f}, 0.6f * std::pow(towards_sun, 8.0f));
  return mix(color, cloud, 0.88f * cover);
}

Vec3 Landscape::lit(const SurfacePoint& surface) const {
  const Vec3 start = surface.point + 0.02f * surface.normal;
  const float facing = std::max(dot(surface.normal, to_sun_), 0.0f);
  float sun = facing;
  if (sun > 0.0f)
    sun *= terrain_.sunlight(start, to_sun_) * cabin_.sunlight(start, to_sun_) * conifers_.sunlight(start, to_sun_);
  const float open_sky = 0.5f + 0.5f * surface.normal.y;
  const float bounced = std::max(-0.3f * surface.normal.z + 0.2f, 0.0f);
  return surface.color * (sun * kSunColor + open_sky * kSkyLight + bounced * Vec3{0.30f, 0.22f, 0.16f}) + surface.glow;
}

Vec3 Landscape::above_water(Vec3 origin, Vec3 direction, float to_ground) const {
  SurfacePoint nearest{.distance = 1e9f, .point = {}, .normal = {}, .color = {}};
  if (to_ground > 0.0f) {
    const Vec3 point = origin + to_ground * direction;
    const Vec3 normal = terrain_.normal(point.x, point.z, to_ground);
    nearest = {.distance = to_ground, .point = point, .normal = normal, .color = terrain_.color(point, normal)};
  }
  if (const auto surface = cabin_.intersect(origin, direction); surface && surface->distance < nearest.distance)
    nearest = *surface;

  const bool is_sky = nearest.distance > 1e8f;
  const Vec3 veil = haze(direction);
  Vec3 color = is_sky ? sky(direction) : mix(veil, lit(nearest), std::exp(-kHazePerUnit * nearest.distance));
  const Conifers::Layer trees =
      conifers_.trace(origin, direction, nearest.distance, {kSunColor, kSkyLight, veil, kHazePerUnit});
  return trees.color + (1.0f - trees.cover) * color;
}

Vec3 Landscape::over_water(Vec3 origin, Vec3 direction, float distance) const {
  const Conifers::Layer trees =
      conifers_.trace(origin, direction, distance, {kSunColor, kSkyLight, haze(direction), kHazePerUnit});
  const auto cabin = cabin_.intersect(origin, direction);
  if (cabin && cabin->distance < distance) return above_water(origin, direction, -1.0f);
  const Vec3 point = origin + distance * direction;
  // Ripples: noise stretched across the view, calmer far away; patches of wind.
  const float wind =
      0.35f + 1.3f * smooth_step(0.40f, 0.66f, fractal_noise(0.30f * point.x, 0.55f * point.z, 3, seed_ + 31));
  const float strength = 0.030f * wind / (1.0f + 0.035f * distance);
  const NoiseValue coarse = value_noise(1.6f * point.x, 4.2f * point.z, seed_ + 32);
  const NoiseValue fine = value_noise(5.5f * point.x + 1.3f, 13.0f * point.z, seed_ + 33);
  const Vec3 normal = normalised({strength * (0.5f * coarse.along_x + 0.3f * fine.along_x), 1.0f,
                                  strength * (0.9f * coarse.along_y + 0.6f * fine.along_y)});
  Vec3 mirrored = direction - 2.0f * dot(direction, normal) * normal;
  mirrored.y = std::max(mirrored.y, 0.01f);
  const float grazing = 1.0f - std::max(-dot(direction, normal), 0.0f);
  const float mirror = 0.16f + 0.84f * std::pow(grazing, 3.5f);
  const Vec3 deep{0.020f, 0.085f, 0.105f};
  const Vec3 above = point + Vec3{0, 0.01f, 0};
  mirrored = normalised(mirrored);
  const Vec3 color = mix(deep, above_water(above, mirrored, terrain_.intersect(above, mirrored)), mirror);
  return trees.color + (1.0f - trees.cover) * mix(haze(direction), color, std::exp(-0.5f * kHazePerUnit * distance));
}

}  // namespace

Tensor paint_landscape(int64_t height, int64_t width, uint32_t seed) {
  constexpr Vec3 kEye{0.0f, 1.55f, -0.5f};
  constexpr float kFocal = 1.18f;  // of half the width
  const Landscape landscape(seed);
  return photograph(height, width, [&](float x, float y) {
    return landscape.trace(kEye, normalised({x, y + 0.035f, kFocal}));
  });
}

}  // namespace minidl::demo
