#pragma once
#include <cstdint>

namespace minidl::demo {

/// Uniform in [0, 1), a function of the lattice point and the seed alone.
float lattice_noise(int x, int y, uint32_t seed);

/// Smooth value noise in [0, 1) with its derivatives; cells have side 1.
struct NoiseValue {
  float value, along_x, along_y;
};
NoiseValue value_noise(float x, float y, uint32_t seed);

/// Sum of `octaves` rotated noises, each of twice the frequency and half the height of the one before; about [0, 1].
float fractal_noise(float x, float y, int octaves, uint32_t seed);

/// The same with octaves weakened where the ones before are steep: smooth valleys and rough ridges, as erosion leaves
/// them; about [0, 1].
float eroded_noise(float x, float y, int octaves, uint32_t seed);

}  // namespace minidl::demo
