#pragma once
#include <minidl/layers/codec/mat_file.h>
#include <minidl/layers/network_description.h>

namespace minidl::layers {

/// One element of a file's `layers`: the layer without its weights, and where those are.
struct MatConvNetCell {
  LayerDescription layer;
  const detail::MatArray* filters = nullptr;  // of a convolution
  const detail::MatArray* bias = nullptr;     // nullptr: none in the file
};

/// The chain of the variable `layers`, without dropout layers, which do nothing at evaluation. Layers without a name
/// are called as in VGG: conv1_1, relu1_1, pool1, ..., fc6, relu6, ..., prob. Throws Error naming the file, cell and
/// field.
std::vector<MatConvNetCell> read_cells(const std::string& file, const detail::MatArray& layers);

}  // namespace minidl::layers
