#include <minidl/apps/demo/conifers.h>
#include <minidl/apps/demo/noise.h>

namespace minidl::demo {
namespace {

constexpr float kHalfWidth = 0.26f;  // of a tree of height 1, at its foot

/// Half the width of the crown at a share of the height: tiers of branches that hang over each other.
float crown_width(float up, uint32_t seed) {
  const float tiers = 7.0f + 4.0f * lattice_noise(1, 2, seed);
  const float tier = up * tiers - std::floor(up * tiers);
  return kHalfWidth * std::pow(1.0f - up, 0.85f) * (1.0f - 0.45f * tier);
}

}  // namespace

Conifers::Conifers(const Terrain& terrain, uint32_t seed) {
  const float cell = 0.62f;
  for (int j = 3; j < 62; ++j) {
    for (int i = -62; i < 62; ++i) {
      const float x = cell * (static_cast<float>(i) + 0.9f * lattice_noise(i, j, seed + 11));
      const float z = cell * (static_cast<float>(j) + 0.9f * lattice_noise(i, j, seed + 12));
      const float ground = terrain.height(x, z);
      // Groves at both sides and along the far shore; the view over the meadow and the cabin stay free.
      const float grove = fractal_noise(0.33f * x, 0.33f * z, 3, seed + 13);
      const float aside = smooth_step(0.64f, 0.80f, std::abs(x + 0.1f) / z);
      const bool near_cabin = std::abs(x - 2.5f) < 1.3f && z > 5.0f && z < 9.6f;
      const float density = z < 8.0f    ? 0.6f * aside
                            : z < 14.0f ? 0.75f
                                        : 0.10f + 0.5f * smooth_step(0.40f, 0.50f, grove);
      if (ground < 0.22f || ground > 3.8f || near_cabin || lattice_noise(i, j, seed + 14) > density) continue;
      const float height = (z < 8.0f ? 1.2f : 0.75f) * (0.7f + 1.0f * lattice_noise(i, j, seed + 15));
      trees_.push_back(
          {{x, ground - 0.03f, z}, height, seed + 100u * static_cast<uint32_t>(j) + static_cast<uint32_t>(i + 62)});
    }
  }
  std::sort(trees_.begin(), trees_.end(), [](const Tree& a, const Tree& b) { return a.foot.z < b.foot.z; });
}

Conifers::Layer Conifers::trace(Vec3 origin, Vec3 direction, float distance, const Light& light) const {
  Layer layer;
  if (direction.z <= 0.0f) return layer;
  for (const Tree& tree : trees_) {
    const float t = (tree.foot.z - origin.z) / direction.z;
    if (t <= 0.3f) continue;
    if (t > distance || layer.cover > 0.98f) break;
    const Vec3 p = (1.0f / tree.height) * (origin + t * direction - tree.foot);
    if (p.y < 0.0f || p.y > 1.0f || std::abs(p.x) > kHalfWidth) continue;
    const float needles = fractal_noise(26.0f * p.x, 34.0f * p.y + 9.0f * std::abs(p.x), 4, tree.seed);
    const float width = crown_width(p.y, tree.seed) * (0.55f + 0.95f * needles);
    const float softness = 0.004f + 0.0015f * t / tree.height;
    const bool trunk = p.y < 0.09f && std::abs(p.x) < 0.016f;
    const float cover =
        trunk ? 1.0f : smooth_step(softness, -softness, std::abs(p.x) - width) * smooth_step(0.04f, 0.07f, p.y);
    if (cover <= 0.0f) continue;
    // Lit from the left; dark inside and under the tiers.
    const float side = std::clamp(0.5f - 0.55f * p.x / std::max(width, 0.02f), 0.0f, 1.0f);
    const float depth = 0.35f + 0.9f * needles;
    const float tint = lattice_noise(3, 4, tree.seed);
    const Vec3 green =
        trunk ? Vec3{0.06f, 0.04f, 0.03f} : mix(Vec3{0.025f, 0.060f, 0.024f}, Vec3{0.060f, 0.090f, 0.022f}, tint);
    const Vec3 lit = depth * green * (1.3f * side * side * light.sun + 0.9f * light.sky);
    const Vec3 seen = mix(light.haze, lit, std::exp(-light.haze_per_unit * t));
    layer.color += (1.0f - layer.cover) * cover * seen;
    layer.cover += (1.0f - layer.cover) * cover;
  }
  return layer;
}

float Conifers::sunlight(Vec3 point, Vec3 to_sun) const {
  float light = 1.0f;
  constexpr float kReach = 5.0f;  // longest shadow
  const auto first = std::lower_bound(trees_.begin(), trees_.end(), point.z - kReach,
                                      [](const Tree& tree, float z) { return tree.foot.z < z; });
  for (auto position = first; position != trees_.end() && position->foot.z < point.z + kReach; ++position) {
    const Tree& tree = *position;
    const float to_x = tree.foot.x - point.x, to_z = tree.foot.z - point.z;
    if (std::abs(to_x) > kReach) continue;
    // Where the ray towards the sun passes the trunk, seen from above.
    const float t = (to_x * to_sun.x + to_z * to_sun.z) / (to_sun.x * to_sun.x + to_sun.z * to_sun.z);
    if (t <= 0.0f) continue;
    const float up = (point.y + t * to_sun.y - tree.foot.y) / tree.height;
    if (up < 0.0f || up > 1.0f) continue;
    const float miss_x = to_x - t * to_sun.x, miss_z = to_z - t * to_sun.z;
    const float miss = std::sqrt(miss_x * miss_x + miss_z * miss_z) / tree.height, width = kHalfWidth * (1.0f - up);
    light *= 1.0f - 0.85f * smooth_step(width + 0.04f, 0.6f * width, miss);
  }
  return light;
}

}  // namespace minidl::demo
