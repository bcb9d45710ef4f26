#include <minidl/apps/demo/noise.h>

namespace minidl::demo {

float lattice_noise(int x, int y, uint32_t seed) {
  uint32_t bits = static_cast<uint32_t>(x) * 0x8da6b343u ^ static_cast<uint32_t>(y) * 0xd8163841u ^ seed * 0xcb1ab31fu;
  bits = (bits ^ (bits >> 16)) * 0x7feb352du;
  bits = (bits ^ (bits >> 15)) * 0x846ca68bu;
  return static_cast<float>((bits ^ (bits >> 16)) >> 8) * 0x1p-24f;
}

namespace {

// A turn by 37 degrees and a scaling by two from octave to octave, so that their lattices do not line up.
constexpr float kTurnCos = 1.6f, kTurnSin = 1.2f;

/// Without the call that std::floor is on older processors.
int floor_of(float x) {
  const int truncated = static_cast<int>(x);
  return truncated - (x < static_cast<float>(truncated));
}

// Inlined, so that the derivatives cost nothing where they are not used.
inline NoiseValue noise_at(float x, float y, uint32_t seed) {
  const int i = floor_of(x), j = floor_of(y);
  const float u = x - static_cast<float>(i), v = y - static_cast<float>(j);
  const float a = lattice_noise(i, j, seed), b = lattice_noise(i + 1, j, seed);
  const float c = lattice_noise(i, j + 1, seed), d = lattice_noise(i + 1, j + 1, seed);
  const float su = u * u * u * (u * (6.0f * u - 15.0f) + 10.0f), sv = v * v * v * (v * (6.0f * v - 15.0f) + 10.0f);
  const float du = 30.0f * u * u * (u - 1.0f) * (u - 1.0f), dv = 30.0f * v * v * (v - 1.0f) * (v - 1.0f);
  const float twist = a - b - c + d;
  return {a + (b - a) * su + (c - a) * sv + twist * su * sv, du * (b - a + twist * sv), dv * (c - a + twist * su)};
}

}  // namespace

NoiseValue value_noise(float x, float y, uint32_t seed) {
  return noise_at(x, y, seed);
}

float fractal_noise(float x, float y, int octaves, uint32_t seed) {
  float sum = 0.0f, height = 0.5f;
  for (int octave = 0; octave < octaves; ++octave) {
    sum += height * noise_at(x, y, seed).value;
    const float turned_x = kTurnCos * x - kTurnSin * y;
    y = kTurnSin * x + kTurnCos * y;
    x = turned_x;
    height *= 0.5f;
  }
  return sum;
}

float eroded_noise(float x, float y, int octaves, uint32_t seed) {
  float sum = 0.0f, height = 0.5f, slope_x = 0.0f, slope_y = 0.0f;
  for (int octave = 0; octave < octaves; ++octave) {
    const NoiseValue noise = noise_at(x, y, seed);
    slope_x += noise.along_x;
    slope_y += noise.along_y;
    sum += height * noise.value / (1.0f + slope_x * slope_x + slope_y * slope_y);
    const float turned_x = kTurnCos * x - kTurnSin * y;
    y = kTurnSin * x + kTurnCos * y;
    x = turned_x;
    height *= 0.5f;
  }
  return sum;
}

}  // namespace minidl::demo
