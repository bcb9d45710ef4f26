#pragma once
#include <minidl/core/safetensors.h>
#include <minidl/layers/network_description.h>

#include <filesystem>
#include <string>
#include <vector>

namespace minidl::layers {

/// Reads a network file: MatConvNet .mat (MAT v5, all four layouts of its cells, compressed or not) or safetensors (torchvision's or layer names),
/// told apart by content. With `until`, weights are loaded only up to the deepest of the named layers; later layers are listed without
/// weights. Peak memory is the loaded weights plus a few MB. Throws Error that names the file, what was expected and what was found (cell,
/// field, shape), and where the known file stands when size or hash differ.
NetworkDescription read_network(const std::filesystem::path& path, const std::vector<std::string>& until = {});
/// The same of an open safetensors file.
NetworkDescription read_network(const SafetensorsReader& reader, const std::vector<std::string>& until = {});

/// Writes the other format, atomically: by extension .mat (MAT v5 as today's MatConvNet, compressed) or .safetensors (layer names, filters
/// [out, in, kh, kw], metadata with mean and layer list). Every conv layer must have its weights. `storage` of safetensors: f32, f16, bf16,
/// or i8, which is 8 bits with a scale for each filter, and f16 for the rest. A student has no .mat form.
void write_network(const std::filesystem::path& path, const NetworkDescription& network, Dtype storage = Dtype::f32);

}  // namespace minidl::layers
