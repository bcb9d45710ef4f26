#pragma once
#include <minidl/layers/network_description.h>

namespace minidl::layers {

/// What every reader and writer of network files asks of a chain: unique printable names, windows in range, three input
/// channels, each convolution reading what the one before it writes, loaded weights of the shapes that the layer says.
/// Throws Error naming network.source and the layer.
void check_network(const NetworkDescription& network);
/// Throws Error when a value is not a finite number; `what` names the tensor: "layers{1}.weights{1} of layer
/// 'conv1_1'".
void check_finite(const NetworkDescription& network, const Tensor& values, const std::string& what);

}  // namespace minidl::layers
