#pragma once
#include <minidl/core/safetensors.h>
#include <minidl/layers/network_description.h>

#include <filesystem>

/// Networks in safetensors files: filters [out, in, kh, kw] under "<layer>.weight", or as matrices [out, in * kh * kw]
/// in that order; "<layer>.bias" [out]; of a student "<layer>.projection" [c, c]. Values are f32, f16 or bf16. A weight
/// of 8 bits (i8, -127 to 127) has a "<layer>.weight_scale" [out], by which its filters are multiplied. The chain is
///   * that of the metadata, where the file has one (see network_json.h), or
///   * VGG-16 or VGG-19 or their beginning, told from the tensors, which are called by layer ("conv1_1.weight",
///     "fc6.weight") or as torchvision calls them ("features.0.weight", "classifier.0.weight").
/// Without metadata, torchvision's names stand for torchvision's input, layer names for rgb in [0, 255] minus VGG's
/// mean.
namespace minidl::layers {

/// See read_network().
NetworkDescription read_network_safetensors(const SafetensorsReader& reader, const std::vector<std::string>& until);
/// See write_network().
void write_network_safetensors(const std::filesystem::path& path, const NetworkDescription& network, Dtype storage);

}  // namespace minidl::layers
