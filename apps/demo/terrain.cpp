#include <minidl/apps/demo/noise.h>
#include <minidl/apps/demo/terrain.h>
#include <minidl/core/parallel.h>

namespace minidl::demo {
namespace {

constexpr float kFarthest = 110.0f;
constexpr float kHighest = 21.0f;
constexpr int kOctaves = 7, kFineOctaves = 9;  // of the mountains' shape and of what the light shows on them
// The grid that rays are followed on: x from -kGridWest, z from 0, clamped beyond.
constexpr float kGridStep = 0.1f, kGridWest = 70.0f;
constexpr int kGridWidth = 1401, kGridDepth = 1101;

/// Scattered dots of red, yellow and white in the grass, in drifts.
Vec3 with_flowers(Vec3 grass, Vec3 point, uint32_t seed) {
  constexpr float kCell = 0.085f;
  const float across = point.x / kCell, away = point.z / kCell;
  const int i = static_cast<int>(std::floor(across)), j = static_cast<int>(std::floor(away));
  const float drift = fractal_noise(0.9f * point.x, 0.9f * point.z, 3, seed);
  if (lattice_noise(i, j, seed + 1) > 0.75f * smooth_step(0.36f, 0.60f, drift)) return grass;
  const float to_x = across - static_cast<float>(i) - 0.25f - 0.5f * lattice_noise(i, j, seed + 2);
  const float to_z = away - static_cast<float>(j) - 0.25f - 0.5f * lattice_noise(i, j, seed + 3);
  const float kind = lattice_noise(i, j, seed + 4);
  const Vec3 petals = kind < 0.45f   ? Vec3{0.62f, 0.05f, 0.04f}
                      : kind < 0.75f ? Vec3{0.75f, 0.52f, 0.05f}
                                     : Vec3{0.72f, 0.70f, 0.66f};
  return mix(grass, petals, smooth_step(0.24f, 0.16f, std::sqrt(to_x * to_x + to_z * to_z)));
}

}  // namespace

Terrain::Terrain(uint32_t seed) : seed_(seed), samples_(static_cast<size_t>(kGridWidth) * kGridDepth) {
  parallel_for(0, kGridDepth, 16, [&](int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; ++j) {
      for (int64_t i = 0; i < kGridWidth; ++i) {
        const float x = kGridStep * static_cast<float>(i) - kGridWest, z = kGridStep * static_cast<float>(j);
        samples_[j * kGridWidth + i] = exact_height(x, z, kOctaves);
      }
    }
  });
}

float Terrain::height(float x, float z) const {
  const float column = std::clamp((x + kGridWest) / kGridStep, 0.0f, kGridWidth - 1.001f);
  const float row = std::clamp(z / kGridStep, 0.0f, kGridDepth - 1.001f);
  const int i = static_cast<int>(column), j = static_cast<int>(row);
  const float u = column - static_cast<float>(i), v = row - static_cast<float>(j);
  const float* corner = samples_.data() + static_cast<size_t>(j) * kGridWidth + i;
  return mix(mix(corner[0], corner[1], u), mix(corner[kGridWidth], corner[kGridWidth + 1], u), v);
}

float Terrain::exact_height(float x, float z, int octaves) const {
  // The lake: an ellipse with an uneven shore, deepest in the middle.
  const float lake_x = (x + 1.5f) / 12.0f, lake_z = (z - 12.6f) / 8.8f;
  float shore = std::sqrt(lake_x * lake_x + lake_z * lake_z);
  if (shore < 1.4f)
    shore += 0.35f * (fractal_noise(0.35f * x, 0.35f * z, 3, seed_) - 0.45f) * smooth_step(1.4f, 1.3f, shore);
  float ground = mix(-0.7f, 0.45f, smooth_step(0.72f, 1.18f, shore));
  if (shore > 1.1f) ground += 0.5f * smooth_step(1.1f, 2.0f, shore) * fractal_noise(0.5f * x, 0.5f * z, 4, seed_ + 1);
  // A knoll for the cabin.
  const float knoll_x = x - 2.9f, knoll_z = z - 8.8f;
  ground += 1.05f * std::exp(-0.30f * (knoll_x * knoll_x + knoll_z * knoll_z));
  // Mountains rise behind the lake and, lower, at its sides.
  const float far = smooth_step(20.0f, 52.0f, z + 0.25f * std::abs(x)),
              sides = 0.30f * smooth_step(13.0f, 34.0f, std::abs(x + 1.0f));
  const float rise = std::max(far, sides);
  if (rise > 0.0f) {
    const float ridges = eroded_noise(0.052f * x + 3.1f, 0.052f * z + 1.7f, octaves, seed_ + 2);
    ground += rise * (2.0f * kHighest * std::pow(ridges, 1.15f));
  }
  return ground;
}

Vec3 Terrain::normal(float x, float z, float distance) const {
  const float step = std::max(0.004f, 0.0012f * distance);
  const float along_x = exact_height(x + step, z, kFineOctaves) - exact_height(x - step, z, kFineOctaves);
  const float along_z = exact_height(x, z + step, kFineOctaves) - exact_height(x, z - step, kFineOctaves);
  return normalised({-along_x, 2.0f * step, -along_z});
}

float Terrain::intersect(Vec3 origin, Vec3 direction) const {
  float above = 1.0f, before = 0.0f;
  for (float t = 0.3f; t < kFarthest;) {
    const Vec3 point = origin + t * direction;
    if (point.y > kHighest + 1.0f && direction.y >= 0.0f) return -1.0f;
    const float clearance = point.y - height(point.x, point.z);
    if (clearance < 0.0f)
      return before + (t - before) * above / (above - clearance);  // between the two last points, linearly
    above = clearance;
    before = t;
    t += std::max(0.45f * clearance, 0.0025f * t);
  }
  return -1.0f;
}

float Terrain::sunlight(Vec3 point, Vec3 to_sun) const {
  float light = 1.0f;
  float t = 0.15f;
  for (int step = 0; step < 48 && t < 40.0f; ++step) {
    const Vec3 p = point + t * to_sun;
    const float clearance = p.y - height(p.x, p.z);
    light = std::min(light, 0.5f + 10.0f * clearance / t);
    if (light <= 0.0f) return 0.0f;
    t += std::max(0.12f, 0.5f * clearance);
  }
  return std::clamp(light, 0.0f, 1.0f);
}

Vec3 Terrain::color(Vec3 point, Vec3 normal) const {
  const float patches = fractal_noise(3.0f * point.x, 3.0f * point.z, 5, seed_ + 3);
  const float broad = fractal_noise(0.4f * point.x, 0.4f * point.z, 4, seed_ + 4);
  const Vec3 rock = (0.75f + 0.6f * patches) * mix(Vec3{0.20f, 0.17f, 0.155f}, Vec3{0.30f, 0.25f, 0.21f}, broad);
  const float blades = fractal_noise(38.0f * point.x, 15.0f * point.z, 5, seed_ + 5);
  Vec3 meadow = (0.25f + 0.6f * patches + 0.9f * blades) *
                mix(Vec3{0.085f, 0.14f, 0.025f}, Vec3{0.20f, 0.17f, 0.035f}, smooth_step(0.3f, 0.65f, broad));
  const Vec3 forest = (0.4f + 1.1f * patches) * Vec3{0.035f, 0.075f, 0.030f};
  const float flat = normal.y;
  if (point.z < 6.0f) meadow = with_flowers(meadow, point, seed_ + 6);
  // Meadow at the shore, forest on the lower slopes, then rock, then snow where it is not too steep.
  Vec3 color = mix(meadow, forest, smooth_step(1.0f, 2.2f, point.y + broad) * smooth_step(17.0f, 24.0f, point.z));
  color = mix(color, rock,
              std::max(smooth_step(3.6f, 5.6f, point.y + 2.0f * (patches - 0.5f)), smooth_step(0.78f, 0.60f, flat)));
  const float snow = smooth_step(5.6f, 7.6f, point.y + 2.5f * (broad - 0.5f) + 1.5f * (patches - 0.5f)) *
                     smooth_step(0.50f, 0.68f, flat);
  color = mix(color, {0.82f, 0.85f, 0.92f}, snow);
  return mix(color, {0.30f, 0.25f, 0.17f}, smooth_step(0.16f, 0.02f, point.y));  // sand at the water's edge
}

}  // namespace minidl::demo
