#pragma once
#include <minidl/layers/network_description.h>

namespace minidl::test {

/// VGG-19's chain up to relu5_1 with four channels in every layer and seeded random weights: real programs run on it in
/// milliseconds.
inline layers::NetworkDescription tiny_network(uint64_t seed = 1) {
  layers::NetworkDescription network = layers::vgg_description(19, false);
  network.layers.resize(network.index_of("relu5_1") + 1);
  int64_t in_c = 3;
  for (layers::LayerDescription& layer : network.layers) {
    if (layer.kind != layers::LayerDescription::Kind::conv) continue;
    layer.in_c = in_c;
    layer.out_c = in_c = 4;
  }
  layers::fill_random_weights(network, seed);
  return network;
}

}  // namespace minidl::test
