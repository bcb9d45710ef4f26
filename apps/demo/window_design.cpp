#include <minidl/apps/demo/noise.h>
#include <minidl/apps/demo/palette.h>
#include <minidl/apps/demo/window_design.h>

#include <array>
#include <numbers>

namespace minidl::demo {
namespace {

constexpr float kPi = std::numbers::pi_v<float>;
constexpr float kSunX = 0.88f, kSunY = 0.29f, kSunRadius = 0.105f;

enum Region : uint32_t { kSun, kCorona, kSky, kCloud, kLand, kRiver, kTree, kFlower, kBlade };

using Palette = std::array<Vec3, 5>;
constexpr Palette kSunGlass{{{255, 232, 120}, {255, 214, 64}, {255, 190, 30}, {250, 160, 20}, {255, 244, 190}}};
constexpr Palette kCoronaGlass{{{250, 120, 18}, {226, 66, 20}, {200, 30, 34}, {255, 160, 40}, {170, 18, 40}}};
constexpr Palette kSkyGlass{{{150, 222, 214}, {50, 170, 205}, {24, 108, 196}, {28, 62, 164}, {54, 40, 140}}};
constexpr Palette kRayGlass{{{255, 238, 170}, {255, 214, 130}, {250, 186, 150}, {226, 160, 190}, {150, 130, 200}}};
constexpr Palette kCloudGlass{{{250, 226, 214}, {244, 190, 184}, {232, 150, 160}, {214, 206, 236}, {255, 240, 220}}};
constexpr Palette kRockGlass{{{96, 60, 150}, {64, 52, 140}, {140, 70, 150}, {52, 84, 160}, {176, 110, 170}}};
constexpr Palette kHillGlass{{{30, 110, 50}, {70, 150, 40}, {14, 84, 70}, {150, 180, 40}, {20, 130, 90}}};
constexpr Palette kFieldGlass{{{236, 190, 50}, {214, 150, 30}, {190, 190, 60}, {240, 214, 110}, {200, 110, 30}}};
constexpr Palette kRiverGlass{{{70, 190, 210}, {30, 140, 205}, {190, 240, 232}, {40, 100, 190}, {120, 220, 210}}};
constexpr Palette kPetalGlass{{{214, 20, 44}, {240, 70, 40}, {246, 140, 170}, {250, 236, 226}, {190, 20, 110}}};
constexpr Palette kLeafGlass{{{24, 100, 40}, {60, 140, 36}, {10, 70, 44}, {120, 170, 50}, {30, 120, 80}}};

/// Height of the land's outline `number` at `x`, from the top; 0 is the farthest: peaks.
float outline(float x, int number, uint32_t seed) {
  const float wave = fractal_noise(1.7f * x + 10.0f * static_cast<float>(number), 0.5f, 3, seed);
  if (number == 0) {
    const float peaks = std::abs(std::fmod(3.1f * x + 0.25f, 1.0f) - 0.5f) * (0.6f + 1.4f * wave);
    return 0.36f + 0.34f * peaks + 0.05f * std::abs(std::fmod(11.0f * x, 1.0f) - 0.5f);
  }
  constexpr std::array<float, 4> kBase{0.0f, 0.53f, 0.62f, 0.75f}, kRise{0.0f, 0.22f, 0.24f, 0.22f};
  return kBase[number] + kRise[number] * (0.45f - wave) + 0.03f * std::sin(4.0f * x + static_cast<float>(number));
}

}  // namespace

float WindowDesign::chance(uint32_t piece, uint32_t number) const {
  return lattice_noise(static_cast<int>(piece), static_cast<int>(number), seed_ + 77);
}

/// Nearest of the points that are scattered one to each unit square: pieces of a Voronoi diagram.
uint32_t WindowDesign::piece_of(Place place) const {
  const auto wrapped = [&](int a) { return place.period > 0 ? (a % place.period + place.period) % place.period : a; };
  const int i = static_cast<int>(std::floor(place.u)), j = static_cast<int>(std::floor(place.v));
  float nearest = 1e9f;
  uint32_t piece = 0;
  for (int b = j - 2; b <= j + 2; ++b) {
    for (int a = i - 2; a <= i + 2; ++a) {
      const int c = wrapped(a);
      const float to_u = static_cast<float>(a) + 0.15f + 0.7f * lattice_noise(c, b, place.seed) - place.u;
      const float to_v = static_cast<float>(b) + 0.15f + 0.7f * lattice_noise(c, b, place.seed + 1) - place.v;
      const float square = to_u * to_u + to_v * to_v;
      if (square >= nearest) continue;
      nearest = square;
      piece = static_cast<uint32_t>(lattice_noise(c, b, place.seed + 2) * 0x1p24f);
    }
  }
  return piece;
}

float WindowDesign::light_at(float x, float y) const {
  const float distance = std::hypot(x - kSunX, y - kSunY);
  return 0.74f + 0.55f * std::exp(-3.0f * distance) + 0.22f * fractal_noise(3.0f * x, 3.0f * y, 3, seed_ + 5);
}

/// Rays of the sun, cut across at distances that grow outwards.
Pane WindowDesign::sky(float x, float y, float distance, float angle) const {
  const float outwards = std::log(distance / kSunRadius);
  const int ring = distance < 0.30f ? 0 : distance < 0.60f ? 1 : 2;
  constexpr std::array<int, 3> kRays{22, 34, 56};  // around the whole circle
  const auto rays = static_cast<float>(kRays[ring]);
  const float turn = angle / (2.0f * kPi) + 0.5f + 0.03f * std::sin(2.2f * outwards + 1.0f);
  const Place place{turn * rays, 3.0f * outwards + 5.0f * static_cast<float>(ring),
                    seed_ + 10 + static_cast<uint32_t>(ring), kRays[ring]};
  Pane pane{.region = kSky, .piece = piece_of(place), .from = {}, .to = {}, .streak = angle};
  const float far = 0.26f * static_cast<float>(ring) + 0.22f * distance + 0.45f * (chance(pane.piece, 1) - 0.4f);
  const Palette& palette = chance(pane.piece, 2) < 0.42f - 0.14f * static_cast<float>(ring) ? kRayGlass : kSkyGlass;
  pane.from = pick(palette, far);
  pane.to = pick(palette, far + 0.25f);
  // Drifting bands of cloud.
  const float band = fractal_noise(1.3f * x, 4.6f * y + 0.5f * std::sin(3.0f * x), 3, seed_ + 15);
  if (band > 0.53f && distance > 0.27f) {
    pane.region = kCloud;
    pane.piece = piece_of({5.5f * x + 0.6f * y, 15.0f * y + std::sin(5.0f * x), seed_ + 16});
    pane.from = pick(kCloudGlass, chance(pane.piece, 1));
    pane.to = pick(kCloudGlass, chance(pane.piece, 2));
    pane.streak = 0.3f * std::cos(3.0f * x);
  }
  return pane;
}

/// Flowers in the meadow: petals around an eye.
bool WindowDesign::flower(float x, float y, Pane& pane) const {
  constexpr float kCell = 0.19f;
  if (y < 0.68f) return false;
  for (int b = -1; b <= 1; ++b) {
    for (int a = -1; a <= 1; ++a) {
      const int i = static_cast<int>(std::floor(x / kCell)) + a, j = static_cast<int>(std::floor(y / kCell)) + b;
      if (lattice_noise(i, j, seed_ + 20) < 0.22f) continue;
      const float center_x = kCell * (static_cast<float>(i) + 0.2f + 0.6f * lattice_noise(i, j, seed_ + 21));
      const float center_y = kCell * (static_cast<float>(j) + 0.2f + 0.6f * lattice_noise(i, j, seed_ + 22));
      const float radius = 0.052f + 0.040f * lattice_noise(i, j, seed_ + 23);
      if (center_y - radius < 0.73f) continue;
      const float to_x = x - center_x, to_y = y - center_y, distance = std::hypot(to_x, to_y) / radius;
      const float petals = 5.0f + std::floor(3.0f * lattice_noise(i, j, seed_ + 24));
      const float turn = petals * (std::atan2(to_y, to_x) / (2.0f * kPi) + 0.5f) + lattice_noise(i, j, seed_ + 25);
      const float within = turn - std::floor(turn) - 0.5f;
      if (distance > 0.74f + 0.30f * std::cos(2.0f * kPi * within)) continue;
      const bool eye = distance < 0.27f;
      const auto number = static_cast<uint32_t>(i * 97 + j * 31);
      pane = {.region = kFlower + 16 * number,
              .piece = eye ? 99u : static_cast<uint32_t>(std::floor(turn)) % static_cast<uint32_t>(petals),
              .from = {},
              .to = {},
              .streak = std::atan2(to_y, to_x)};
      const float hue = 0.9f * lattice_noise(i, j, seed_ + 26) + 0.12f * chance(pane.piece, number);
      pane.from = eye ? kSunGlass[2] : pick(kPetalGlass, hue);
      pane.to = eye ? kSunGlass[0] : pick(kPetalGlass, hue + 0.18f);
      return true;
    }
  }
  return false;
}

/// Tall leaves that rise from the lower edge.
bool WindowDesign::blade(float x, float y, Pane& pane) const {
  constexpr float kCell = 0.085f;
  for (int a = -3; a <= 3; ++a) {
    const int i = static_cast<int>(std::floor(x / kCell)) + a;
    if (lattice_noise(i, 0, seed_ + 30) < 0.35f) continue;
    const float tip = 0.78f + 0.16f * lattice_noise(i, 1, seed_ + 30);
    const float up = (1.04f - y) / (1.04f - tip);  // 0 at the root, 1 at the tip
    if (up < 0.0f || up > 1.0f) continue;
    const float lean = 0.26f * (lattice_noise(i, 2, seed_ + 30) - 0.5f);
    const float middle = kCell * (static_cast<float>(i) + 0.5f) + lean * up * up;
    const float half = 0.036f * std::pow(1.0f - up, 0.75f) * (0.55f + 0.45f * std::sin(kPi * up));
    if (std::abs(x - middle) > half) continue;
    const bool left = x < middle;
    pane = {.region = kBlade + 16 * static_cast<uint32_t>(i + 1000),
            .piece = (left ? 0u : 1u) + 2u * static_cast<uint32_t>(up * 2.2f),
            .from = {},
            .to = {},
            .streak = 1.57f + lean};
    const float hue = lattice_noise(i, 3, seed_ + 30);
    pane.from = pick(kLeafGlass, hue);
    pane.to = pick(kLeafGlass, hue + (left ? 0.3f : 0.1f));
    return true;
  }
  return false;
}

/// Poplars on the ridge of the second hill.
bool WindowDesign::tree(float x, float y, Pane& pane) const {
  constexpr float kCell = 0.12f;
  for (int a = -1; a <= 1; ++a) {
    const int i = static_cast<int>(std::floor(x / kCell)) + a;
    if (lattice_noise(i, 0, seed_ + 70) < 0.45f) continue;
    const float middle = kCell * (static_cast<float>(i) + 0.3f + 0.4f * lattice_noise(i, 1, seed_ + 70));
    const float tall = 0.12f + 0.08f * lattice_noise(i, 2, seed_ + 70);
    const float foot = outline(middle, 2, seed_ + 40) + 0.015f, up = (foot - y) / tall;
    if (up < 0.0f || up > 1.0f) continue;
    if (std::abs(x - middle) > 0.26f * tall * std::pow(1.0f - up, 0.6f) * std::sqrt(up + 0.05f)) continue;
    const auto half = static_cast<uint32_t>(x < middle);
    pane = {.region = kTree + 16 * static_cast<uint32_t>(i + 1000),
            .piece = half,
            .from = pick(kLeafGlass, chance(half, 8)),
            .to = kLeafGlass[half],
            .streak = 1.4f};
    return true;
  }
  return false;
}

bool WindowDesign::land(float x, float y, Pane& pane) const {
  // From the nearest to the farthest.
  for (int number = 3; number >= 0; --number) {
    const float top = outline(x, number, seed_ + 40);
    if (y < top) continue;
    const float below = y - top;
    const float slope = (outline(x + 0.02f, number, seed_ + 40) - top) / 0.02f;
    const auto seed = seed_ + 50 + static_cast<uint32_t>(number);
    const bool rock = number == 0;
    const float along = x + 0.4f * slope * below;
    pane.region = kLand + 16 * static_cast<uint32_t>(number);
    // Hills in bands along the ground, mountains in upright splinters.
    pane.piece = rock ? piece_of({13.0f * x + 9.0f * below * (slope > 0.0f ? 1.0f : -1.0f), 7.0f * below, seed})
                      : piece_of({7.0f * along, (14.0f + 3.0f * static_cast<float>(number)) * below, seed});
    const Palette& palette = rock ? kRockGlass : number == 2 ? kFieldGlass : kHillGlass;
    const float hue = chance(pane.piece, 4);
    pane.from = pick(palette, hue);
    pane.to = pick(palette, hue + 0.25f);
    if (rock && below < 0.06f + 0.03f * std::sin(40.0f * x)) {
      pane.piece += 1u << 25;
      pane.from = kCloudGlass[3], pane.to = kCloudGlass[4];
    }
    pane.streak = rock ? 1.2f : std::atan(slope);
    return true;
  }
  return false;
}

Pane WindowDesign::pane_at(float x, float y) const {
  Pane pane{};
  if (flower(x, y, pane) || blade(x, y, pane)) return pane;
  // The river comes from between the hills and widens towards the viewer.
  const float down = (y - 0.53f) / 0.47f;
  if (down > 0.0f) {
    const float middle = 0.42f * width_ + 0.17f * std::sin(7.0f * std::sqrt(down) - 0.6f) * (0.35f + down);
    const float half = 0.014f + 0.15f * std::pow(down, 1.5f);
    if (std::abs(x - middle) < half) {
      pane.region = kRiver;
      pane.piece = piece_of({2.2f * (x - middle) / (half + 0.05f) + 3.0f, 11.0f * std::sqrt(down), seed_ + 60});
      const float hue = chance(pane.piece, 5);
      pane.from = pick(kRiverGlass, hue);
      pane.to = pick(kRiverGlass, hue + 0.3f);
      pane.streak = 0.2f * std::cos(9.0f * y);
      return pane;
    }
  }
  if (tree(x, y, pane) || land(x, y, pane)) return pane;
  const float to_x = x - kSunX, to_y = y - kSunY, distance = std::hypot(to_x, to_y), angle = std::atan2(to_y, to_x);
  if (distance > 1.75f * kSunRadius + 0.016f * std::cos(16.0f * angle)) return sky(x, y, distance, angle);
  const bool disc = distance < kSunRadius;
  const float sectors = disc ? 8.0f : 16.0f;
  const float turn = sectors * (angle / (2.0f * kPi) + 0.5f);
  const uint32_t ring = distance < 0.45f * kSunRadius ? 0 : 1;
  pane = {.region = disc ? kSun : kCorona,
          .piece = disc && ring == 0 ? 500u : 32u * ring + static_cast<uint32_t>(turn),
          .from = {},
          .to = {},
          .streak = angle};
  const Palette& palette = disc ? kSunGlass : kCoronaGlass;
  pane.from = pick(palette, chance(pane.piece, 6));
  pane.to = pick(palette, chance(pane.piece, 7));
  return pane;
}

}  // namespace minidl::demo
