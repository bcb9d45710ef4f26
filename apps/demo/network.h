#pragma once
#include <minidl/layers/network_description.h>

#include <cstdint>

namespace minidl::demo {

/// VGG-19's chain up to relu5_1, a quarter to an eighth as wide, that has learned nothing: the first layer measures
/// brightness, colour and edges in eight directions, the others have orthonormal random filters without a constant
/// part. Random features are enough for textures and colours, not for objects (Ustyuzhaninov et al. 2016, "Texture
/// synthesis using shallow convolutional networks with random filters").
layers::NetworkDescription make_demo_network(uint64_t seed);

}  // namespace minidl::demo
