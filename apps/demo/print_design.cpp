#include <minidl/apps/demo/noise.h>
#include <minidl/apps/demo/print_design.h>

#include <array>

namespace minidl::demo {
namespace {

constexpr float kSunX = 0.46f, kSunY = 0.27f, kSunRadius = 0.115f;
constexpr Vec3 kPaper{240, 226, 190}, kYellow{244, 190, 64}, kOrange{230, 120, 48}, kRed{204, 58, 38},
    kTeal{44, 140, 146}, kBlue{40, 92, 140}, kGreen{96, 138, 62}, kOchre{206, 150, 62}, kRose{222, 150, 130};

enum Region : uint32_t { kSunDisc = 1, kSunRing, kRays, kCloud, kMountains = 10, kFields = 20, kTrees = 100 };

constexpr int kMountainRanges = 2, kFieldRows = 4;

/// From 0 at whole numbers to 1 between them.
float triangle_wave(float t) {
  return 2.0f * std::abs(t - std::floor(t + 0.5f));
}

}  // namespace

/// Upper edge of the mountains (0, 1) and fields (2 to 5), from far to near.
float PrintDesign::outline(float x, int number) const {
  const auto n = static_cast<float>(number);
  const float wave = fractal_noise(1.6f * x + 9.0f * n, 0.3f, 3, seed_ + 1);
  if (number < kMountainRanges) {
    const float jag = triangle_wave(x * (1.7f + 0.9f * n) + 0.23f + 0.4f * n);
    const float crag = 0.035f * (fractal_noise(16.0f * x, 3.0f * n, 3, seed_ + 2) - 0.45f);
    return 0.30f + 0.13f * n + (0.26f - 0.07f * n) * jag * (0.7f + 0.6f * wave) + crag;
  }
  constexpr std::array<float, kFieldRows> kBase{0.53f, 0.60f, 0.70f, 0.83f};
  return kBase[number - kMountainRanges] + 0.16f * (0.45f - wave) + 0.035f * std::sin(3.0f * x + 2.0f * n);
}

Cut PrintDesign::sky(float x, float y) const {
  const float to_x = x - kSunX, to_y = y - kSunY, distance = std::hypot(to_x, to_y);
  const Vec3 outwards{to_x / (distance + 1e-5f), to_y / (distance + 1e-5f), 0.0f};
  const Vec3 around{-outwards.y, outwards.x, 0.0f};
  if (distance < kSunRadius) {
    const float ring = distance / kSunRadius;
    return {.region = kSunDisc,
            .light = 0.86f - 0.35f * ring * ring,
            .spacing = 0.016f,
            .along = around,
            .color = mix(kYellow, kRed, ring * ring)};
  }
  if (distance < 1.45f * kSunRadius)
    return {.region = kSunRing, .light = 0.80f, .spacing = 0.014f, .along = outwards, .color = kYellow};
  // Clouds: scrolls in the rays.
  const float warp = fractal_noise(2.2f * x, 2.2f * y, 3, seed_ + 5);
  const float cloud = fractal_noise(1.9f * x + 0.8f * warp, 4.2f * y + 0.8f * warp, 3, seed_ + 6);
  if (cloud > 0.515f && distance > 1.9f * kSunRadius) {
    const NoiseValue curl = value_noise(3.2f * x + 1.5f * warp, 6.0f * y, seed_ + 7);
    return {.region = kCloud,
            .light = 0.62f + 2.2f * std::min(cloud - 0.515f, 0.12f),
            .spacing = 0.015f,
            .along = normalised({curl.along_y + 0.7f, -0.5f * curl.along_x, 0.0f}),
            .color = mix(kRose, kPaper, smooth_step(0.52f, 0.62f, cloud))};
  }
  // Rays, broader and darker outwards, in wedges of light and shade.
  const float angle = std::atan2(to_y, to_x) + 0.25f * std::sin(3.0f * distance);
  const float wedge = 0.5f + 0.5f * std::sin(17.0f * angle);
  const float bend = 0.45f * std::sin(5.0f * distance + 2.0f * warp);
  const Vec3 color = mix(mix(kYellow, kOrange, smooth_step(0.17f, 0.42f, distance)),
                         mix(kTeal, kBlue, smooth_step(0.6f, 1.0f, distance)),
                         smooth_step(0.34f, 0.58f, distance + 0.10f * (warp - 0.5f)));
  return {.region = kRays,
          .light = std::clamp(0.72f - 0.50f * distance + 0.34f * (wedge - 0.5f), 0.12f, 0.9f),
          .spacing = 0.0105f + 0.007f * distance,
          .along = normalised(outwards + bend * around),
          .color = color};
}

Cut PrintDesign::mountain(float x, float y, int number) const {
  const float top = outline(x, number), slope = (outline(x + 0.015f, number) - top) / 0.015f;
  const float rough = fractal_noise(7.0f * x, 5.0f * y, 4, seed_ + 8);
  // The side that looks to the sun is cut away, the other one stays dark but for single marks.
  const bool lit = (x < kSunX) == (slope < 0.0f);
  const float below = y - top;
  const float side = std::clamp(slope, -2.2f, 2.2f);
  return {.region = kMountains + 2 * static_cast<uint32_t>(number) + (lit ? 1u : 0u),
          .light = std::clamp((lit ? 0.74f : 0.26f) + 0.5f * (rough - 0.47f) - 0.35f * below, 0.06f, 0.9f),
          .spacing = number == 0 ? 0.0115f : 0.0135f,
          .along = normalised({1.0f, 0.75f * side + (lit ? 0.4f : -0.5f) * side + 0.8f * (rough - 0.5f), 0.0f}),
          .color =
              number == 0 ? mix(kRose, kTeal, smooth_step(0.02f, 0.24f, below)) : mix(kTeal, kBlue, lit ? 0.1f : 0.8f)};
}

Cut PrintDesign::field(float x, float y, int number) const {
  const float top = outline(x, number), below = y - top;
  const float slope = (outline(x + 0.02f, number) - top) / 0.02f;
  // Furrows: some run with the hill, some towards the viewer in perspective.
  const int row = number - kMountainRanges;
  const float vanish = (0.25f + 0.55f * lattice_noise(number, 3, seed_ + 9)) * width_;
  const Vec3 furrow = row % 2 == 0 ? normalised({1.0f, slope + 0.9f * below * std::sin(6.0f * x), 0.0f})
                                   : normalised({1.6f * (x - vanish), 0.16f + below, 0.0f});
  const float bands =
      0.5f + 0.5f * std::sin(row % 2 == 0 ? 70.0f * below : 26.0f * (x - vanish) / (0.25f + 2.0f * below));
  constexpr std::array<Vec3, kFieldRows> kColors{kOchre, kGreen, kYellow, kRed};
  const Vec3 other = row == 3 ? kOrange : row == 1 ? kTeal : kOrange;
  return {.region = kFields + static_cast<uint32_t>(number),
          .light = std::clamp(0.64f + 0.38f * (bands - 0.5f) - 0.15f * smooth_step(0.0f, 0.2f, below), 0.1f, 0.9f),
          .spacing = 0.011f + 0.0035f * static_cast<float>(row),
          .along = furrow,
          .color = mix(kColors[row], other, smooth_step(0.3f, 0.7f, fractal_noise(3.0f * x, 9.0f * y, 3, seed_ + 10)))};
}

/// Flames of dark green; marks wind upwards.
bool PrintDesign::cypress(float x, float y, Cut& cut) const {
  struct Tree {
    float x, foot, tall;
  };
  constexpr std::array<Tree, 7> kCypresses{{{0.145f, 0.97f, 0.66f},
                                            {0.245f, 0.93f, 0.40f},
                                            {1.13f, 0.80f, 0.30f},
                                            {1.20f, 0.83f, 0.42f},
                                            {1.275f, 0.80f, 0.27f},
                                            {0.70f, 0.64f, 0.13f},
                                            {0.745f, 0.645f, 0.10f}}};
  for (size_t i = 0; i < kCypresses.size(); ++i) {
    const Tree& tree = kCypresses[i];
    const float up = (tree.foot - y) / tree.tall;
    if (up < 0.0f || up > 1.0f) continue;
    const float sway = 0.05f * tree.tall * std::sin(5.0f * up + static_cast<float>(i));
    const float ragged = 0.80f + 0.55f * fractal_noise(20.0f * x, 9.0f * y, 3, seed_ + 11);
    const float half =
        0.125f * tree.tall * ragged * std::pow(1.0f - up, 0.75f) * std::sqrt(std::min(up * 4.0f + 0.12f, 1.0f));
    const float aside = x - tree.x - sway;
    if (std::abs(aside) > half) continue;
    const float across = aside / (half + 1e-5f);
    cut = {.region = kTrees + static_cast<uint32_t>(i),
           .light = std::clamp(0.34f + 0.34f * (tree.x < kSunX ? across : -across), 0.05f, 0.7f),
           .spacing = 0.0125f,
           .along = normalised({0.55f * across + 0.5f * std::sin(16.0f * up + 3.0f * across), -1.0f, 0.0f}),
           .color = mix(kGreen, kTeal, 0.5f - 0.5f * across)};
    return true;
  }
  return false;
}

Cut PrintDesign::cut_at(float x, float y) const {
  Cut cut{};
  if (cypress(x, y, cut)) return cut;
  for (int number = kMountainRanges + kFieldRows - 1; number >= 0; --number) {
    if (y < outline(x, number)) continue;
    return number < kMountainRanges ? mountain(x, y, number) : field(x, y, number);
  }
  return sky(x, y);
}

}  // namespace minidl::demo
