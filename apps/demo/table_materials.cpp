#include <minidl/apps/demo/noise.h>
#include <minidl/apps/demo/table_scene.h>

namespace minidl::demo {
namespace {

constexpr Vec3 kStalk{0.09f, 0.055f, 0.02f};

/// A place on a thing: about its upright axis, and patches that are its own.
struct Skin {
  Vec3 p;
  float angle, blotch;
  uint32_t seed;
};

/// Green glass with a label and red wax.
Material bottle_material(const Skin& skin) {
  const auto& [p, angle, blotch, seed] = skin;
  const bool label = p.y > 0.55f && p.y < 1.35f && std::abs(angle + 1.75f) < 1.0f;
  if (!label)
    return {.color = p.y > 2.45f ? Vec3{0.16f, 0.02f, 0.02f} : Vec3{0.012f, 0.035f, 0.014f},
            .gloss = p.y > 2.45f ? 0.03f : 0.07f};
  const bool frame = p.y < 0.61f || p.y > 1.29f || std::abs(angle + 1.75f) > 0.93f;
  const bool writing =
      std::abs(p.y - 1.05f) < 0.16f * std::max(fractal_noise(26.0f * angle, 40.0f * p.y, 2, 5) - 0.38f, 0.0f);
  return {.color = frame || writing ? Vec3{0.30f, 0.10f, 0.05f} : (0.8f + 0.4f * blotch) * Vec3{0.58f, 0.50f, 0.34f}};
}

Material jug_material(const Skin& skin) {
  const auto& [p, angle, blotch, seed] = skin;
  // Cobalt on white: bands, and a garland around the belly.
  const float wave = 0.80f + 0.16f * std::sin(6.0f * angle);
  const float leaf = 0.085f * std::abs(std::sin(18.0f * angle)) + 0.012f;
  const bool band =
      std::abs(p.y - 1.33f) < 0.035f || std::abs(p.y - 1.25f) < 0.012f || std::abs(p.y - 0.32f) < 0.03f || p.y > 1.99f;
  const float blue = band || std::abs(p.y - wave) < leaf ? 0.85f + 0.3f * (blotch - 0.5f) : 0.0f;
  return {.color = mix(Vec3{0.72f, 0.71f, 0.66f}, Vec3{0.03f, 0.07f, 0.36f}, std::clamp(blue, 0.0f, 1.0f)),
          .gloss = 0.06f};
}

Material bowl_material(const Skin& skin) {
  const auto& [p, angle, blotch, seed] = skin;
  const bool rim = p.y > 0.57f || std::abs(p.y - 0.47f) < 0.012f;
  return {.color = rim ? Vec3{0.50f, 0.26f, 0.06f} : (0.8f + 0.4f * blotch) * Vec3{0.05f, 0.22f, 0.24f},
          .gloss = 0.06f,
          .bump = 0.02f,
          .bump_pitch = 6.0f};
}

Material apple_material(const Skin& skin) {
  const auto& [p, angle, blotch, seed] = skin;
  if (p.y > 1.22f && std::hypot(p.x, p.z) < 0.14f) return {.color = kStalk};
  const float streak = fractal_noise(7.0f * angle, 1.1f * p.y, 4, seed + 1);
  const float red =
      smooth_step(0.18f, 0.55f, blotch + 0.5f * (streak - 0.47f) + 0.18f * std::sin(angle + static_cast<float>(seed)));
  const Vec3 peel = mix(Vec3{0.55f, 0.46f, 0.07f}, (0.7f + 0.7f * streak) * Vec3{0.52f, 0.030f, 0.022f}, red);
  return {.color = mix(Vec3{0.34f, 0.36f, 0.06f}, peel, smooth_step(0.05f, 0.45f, std::hypot(p.x, p.z))),
          .gloss = 0.045f,
          .soft = 0.15f};
}

Material pear_material(const Skin& skin) {
  const auto& [p, angle, blotch, seed] = skin;
  if (p.y > 2.05f && std::hypot(p.x - 0.06f - 0.25f * (p.y - 2.0f), p.z) < 0.05f) return {.color = kStalk};
  const float freckle = smooth_step(0.62f, 0.72f, fractal_noise(13.0f * angle, 13.0f * p.y, 2, seed + 2));
  const float blush = smooth_step(0.1f, 0.9f, 0.5f + 0.5f * std::sin(angle + 2.4f) + blotch - 0.5f);
  const Vec3 peel = mix(Vec3{0.44f, 0.47f, 0.07f}, Vec3{0.60f, 0.26f, 0.05f}, 0.75f * blush);
  return {.color = mix(peel, {0.26f, 0.16f, 0.04f}, 0.55f * freckle),
          .gloss = 0.03f,
          .soft = 0.2f,
          .bump = 0.04f,
          .bump_pitch = 6.0f};
}

Material grapes_material(const Skin& skin, const std::vector<Vec3>& grapes) {
  size_t nearest = 0;
  for (size_t i = 1; i < grapes.size(); ++i) {
    if (length(skin.p - grapes[i]) < length(skin.p - grapes[nearest])) nearest = i;
  }
  const float ripe = lattice_noise(static_cast<int>(nearest), 5, skin.seed);
  const float bloom = fractal_noise(9.0f * skin.p.x, 9.0f * (skin.p.y + skin.p.z), 3, skin.seed + 3);
  const Vec3 peel = mix(Vec3{0.085f, 0.020f, 0.10f}, Vec3{0.22f, 0.03f, 0.075f}, ripe);
  return {
      .color = mix(peel, {0.30f, 0.27f, 0.38f}, 0.5f * smooth_step(0.45f, 0.7f, bloom)), .gloss = 0.05f, .soft = 0.5f};
}

}  // namespace

Material TableScene::wall_material(Vec3 point) const {
  const float blotch = fractal_noise(0.9f * point.x, 0.9f * point.y, 5, seed_ + 3);
  const float fine = fractal_noise(7.0f * point.x, 7.0f * point.y, 4, seed_ + 4);
  const Vec3 color = mix(Vec3{0.17f, 0.21f, 0.20f}, Vec3{0.34f, 0.31f, 0.22f}, smooth_step(0.25f, 0.7f, blotch));
  return {.color = (0.75f + 0.5f * fine) * color, .bump = 0.25f, .bump_pitch = 5.0f};
}

Material TableScene::table_material(Vec3 point) const {
  if (cloth_at(point.x, point.z) > 0.5f) {
    const auto [u, v, side] = cloth_place(point.x, point.z);
    const float weave = 0.94f + 0.06f * std::sin(110.0f * u) * std::sin(110.0f * v);
    const bool stripe = (side > 0.16f && side < 0.26f) || (side > 0.31f && side < 0.34f);
    return {.color = weave * (stripe ? Vec3{0.55f, 0.07f, 0.06f} : Vec3{0.80f, 0.77f, 0.70f})};
  }
  constexpr float kPlank = 0.62f;
  const float across = point.z / kPlank + 100.0f, plank = std::floor(across);
  const float bend = fractal_noise(0.8f * point.x, 1.3f * point.z + 3.0f * plank, 3, seed_ + 5);
  const float rings = fractal_noise(1.3f * point.x + 7.0f * plank, 16.0f * (point.z + 0.2f * bend), 4, seed_ + 6);
  Vec3 color = mix(Vec3{0.070f, 0.026f, 0.012f}, Vec3{0.26f, 0.11f, 0.042f}, smooth_step(0.2f, 0.75f, rings));
  const float gap = std::abs(across - plank - 0.5f);
  color = (0.8f + 0.4f * lattice_noise(static_cast<int>(plank), 1, seed_)) * smooth_step(0.5f, 0.482f, gap) * color;
  return {.color = color, .gloss = 0.035f, .bump = 0.05f, .bump_pitch = 9.0f};
}

Material TableScene::thing_material(const Thing& thing, Vec3 p) const {
  const Skin skin{.p = p,
                  .angle = std::atan2(p.z, p.x),
                  .blotch = fractal_noise(1.6f * p.x + 9.0f, 1.6f * p.y + 1.3f * p.z, 4, thing.seed),
                  .seed = thing.seed};
  switch (thing.kind) {
    case Kind::bottle:
      return bottle_material(skin);
    case Kind::jug:
      return jug_material(skin);
    case Kind::bowl:
      return bowl_material(skin);
    case Kind::apple:
      return apple_material(skin);
    case Kind::pear:
      return pear_material(skin);
    case Kind::grapes:
      return grapes_material(skin, grapes_);
    case Kind::lemon:
      return {.color = (0.85f + 0.3f * skin.blotch) * Vec3{0.78f, 0.56f, 0.035f},
              .gloss = 0.035f,
              .soft = 0.2f,
              .bump = 0.30f,
              .bump_pitch = 13.0f};
    default:  // an orange
      return {.color = (0.9f + 0.25f * skin.blotch) * Vec3{0.80f, 0.20f, 0.010f},
              .gloss = 0.04f,
              .soft = 0.2f,
              .bump = 0.35f,
              .bump_pitch = 16.0f};
  }
}

}  // namespace minidl::demo
