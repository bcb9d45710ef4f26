#pragma once
#include <minidl/layers/init.h>
#include <minidl/layers/transform_net.h>
#include <support/random_tensors.h>

namespace minidl::test {

/// A net of eight channels and one block with seeded weights, whose pictures lie around medium grey.
inline layers::TransformNet small_transform_net(layers::TransformNetOptions options = {}) {
  layers::seed(5);
  options.width = 8;
  options.residual_blocks = 1;
  layers::TransformNet net(options);
  SafetensorsContent state = net.state();
  uint64_t number = 100;
  for (auto& [name, tensor] : state.tensors) {
    if (name == "deconv3.conv2d.weight") {
      for (float& value : tensor.span<float>()) value *= 100.0f;
    } else if (name == "deconv3.conv2d.bias") {
      tensor.fill(120.0f);
    } else if (name.find("in") != std::string::npos && name.ends_with(".bias")) {
      tensor = random_uniform(tensor.shape(), ++number, -0.4f, 0.4f);  // styles differ
    }
  }
  net.load_state(state);
  net.freeze().train(false);
  return net;
}

}  // namespace minidl::test
