#pragma once
#include <minidl/layers/network_description.h>

#include <string>
#include <vector>

namespace minidl::test {

/// A chain with VGG's names and a few channels, seeded random weights: block b has convolutions[b - 1] 3x3 convolutions
/// with ReLUs and ends in a 2x2 max pool.
inline layers::NetworkDescription tiny_vgg(const std::vector<int>& convolutions = {2, 2, 4, 2}, int64_t channels = 4) {
  using layers::LayerDescription;
  using Kind = LayerDescription::Kind;
  layers::NetworkDescription network;
  network.source = "tiny";
  int64_t in_c = 3;
  for (size_t block = 0; block < convolutions.size(); ++block) {
    const std::string number = std::to_string(block + 1);
    for (int i = 1; i <= convolutions[block]; ++i) {
      const std::string suffix = number + "_" + std::to_string(i);
      network.layers.push_back({.kind = Kind::conv,
                                .name = "conv" + suffix,
                                .window = {1, 1, Padding::zero(1)},
                                .k_h = 3,
                                .k_w = 3,
                                .in_c = in_c,
                                .out_c = channels});
      network.layers.push_back({.kind = Kind::relu, .name = "relu" + suffix});
      in_c = channels;
    }
    network.layers.push_back({.kind = Kind::pool, .name = "pool" + number, .window = {2, 2, {}}, .k_h = 2, .k_w = 2});
  }
  layers::fill_random_weights(network, 1);
  return network;
}

}  // namespace minidl::test
