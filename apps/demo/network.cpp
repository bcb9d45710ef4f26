#include <minidl/apps/demo/network.h>
#include <minidl/core/rng.h>

#include <array>
#include <cmath>
#include <map>
#include <string>
#include <vector>

namespace minidl::demo {
namespace {

using layers::LayerDescription;
using Kernel = std::array<double, 9>;  // row by row

const std::map<char, int64_t> kWidths{
    {'1', 16}, {'2', 24}, {'3', 32}, {'4', 48}, {'5', 64}};  // by block: "conv3_2" is of block 3
constexpr double kGain = 1.7;  // keeps the size of the features about the same from layer to layer
constexpr Kernel kBlur{0.0625, 0.125, 0.0625, 0.125, 0.25, 0.125, 0.0625, 0.125, 0.0625};
constexpr Kernel kAlongX{-0.25, 0, 0.25, -0.5, 0, 0.5, -0.25, 0, 0.25};
constexpr Kernel kAlongY{-0.25, -0.5, -0.25, 0, 0, 0, 0.25, 0.5, 0.25};
constexpr Kernel kSpot{-0.5, -1, -0.5, -1, 6, -1, -0.5, -1, -0.5};
constexpr std::array<double, 3> kGrey{0.333, 0.334, 0.333}, kRedGreen{0.9, -0.9, 0}, kYellowBlue{0.45, 0.45, -0.9};

/// weight[k, r, s, c] = gain * kernel[r, s] * color[c] of filter k and the opposite sign in filter k + 1: what ReLU
/// cuts off in one passes the other.
void set_filter_pair(float* weight, int64_t k, double gain, const Kernel& kernel, const std::array<double, 3>& color) {
  for (int64_t i = 0; i < 27; ++i) {
    const double value = gain * kernel[i / 3] * color[i % 3];
    weight[27 * k + i] = static_cast<float>(value);
    weight[27 * (k + 1) + i] = static_cast<float>(-value);
  }
}

/// 16 filters of 3x3x3: brightness, two colour axes, spots, edges in eight directions.
void set_first_layer(Tensor& weight) {
  float* values = weight.data<float>();
  set_filter_pair(values, 0, 1.0, kBlur, kGrey);
  set_filter_pair(values, 2, 1.0, kBlur, kRedGreen);
  set_filter_pair(values, 4, 1.0, kBlur, kYellowBlue);
  set_filter_pair(values, 6, 0.4, kSpot, kGrey);
  for (int64_t direction = 0; direction < 4; ++direction) {
    const double angle = 0.25 * 3.14159265358979 * static_cast<double>(direction);
    Kernel edge;
    for (size_t i = 0; i < edge.size(); ++i) edge[i] = std::cos(angle) * kAlongX[i] + std::sin(angle) * kAlongY[i];
    set_filter_pair(values, 8 + 2 * direction, 1.5, edge, kGrey);
  }
}

/// Rows of length `size`, orthonormal and orthogonal to the constant, times `gain` (Gram-Schmidt on normal numbers).
void set_orthogonal_rows(Tensor& weight, int64_t size, double gain, Rng& random) {
  random.fill_normal(weight, 0.0f, 1.0f);
  float* values = weight.data<float>();
  std::vector<std::vector<double>> rows{std::vector<double>(size, 1.0 / std::sqrt(static_cast<double>(size)))};
  for (float* row = values; row < values + weight.count(); row += size) {
    std::vector<double> fresh(row, row + size);
    // Strongest in the middle: features that are smooth in space, and so pictures with less grain.
    for (int64_t i = 0; i < size; ++i) fresh[i] *= kBlur[i * 9 / size];
    for (const std::vector<double>& earlier : rows) {
      double shared = 0.0;
      for (int64_t i = 0; i < size; ++i) shared += fresh[i] * earlier[i];
      for (int64_t i = 0; i < size; ++i) fresh[i] -= shared * earlier[i];
    }
    double square = 0.0;
    for (const double value : fresh) square += value * value;
    for (double& value : fresh) value /= std::sqrt(square);
    for (int64_t i = 0; i < size; ++i) row[i] = static_cast<float>(gain * fresh[i]);
    rows.push_back(std::move(fresh));
  }
}

}  // namespace

layers::NetworkDescription make_demo_network(uint64_t seed) {
  layers::NetworkDescription network = layers::vgg_description(19, false);
  network.layers.resize(network.index_of("relu5_1") + 1);
  network.source = "demo network";
  Rng random(seed);
  int64_t in_c = 3;
  for (LayerDescription& layer : network.layers) {
    if (layer.kind != LayerDescription::Kind::conv) continue;
    layer.in_c = in_c;
    layer.out_c = in_c = kWidths.at(layer.name[4]);
    layer.weight = Tensor::zeros({layer.out_c, layer.k_h, layer.k_w, layer.in_c});
    layer.bias = Tensor::zeros({layer.out_c});
    if (layer.in_c == 3) {
      set_first_layer(layer.weight);
    } else {
      set_orthogonal_rows(layer.weight, layer.k_h * layer.k_w * layer.in_c, kGain, random);
    }
  }
  return network;
}

}  // namespace minidl::demo
