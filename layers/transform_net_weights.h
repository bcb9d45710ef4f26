#pragma once
#include <minidl/layers/transform_net.h>

namespace minidl::layers {

/// Options as text, by the names of the struct's members: {"upsample", "nearest"}, {"width", "32"}, ... These are the
/// keys and values of a file's metadata.
std::map<std::string, std::string> to_text(const TransformNetOptions& options);
/// Sets one option; throws Error, listing what there is, for a name or a value that does not exist.
void set_option(TransformNetOptions& options, const std::string& name, const std::string& value);

/// Reads a transform net from safetensors: f32, f16 or bf16 under the names of TransformNet, filters [out, in, kh, kw],
/// those of stride 1/2 [in, out, kh, kw] as PyTorch has them. Options come from the metadata; where it says nothing,
/// width, residual blocks, kind of upsampling and styles are recognised by the shapes, and the rest is as in PyTorch's
/// example: reflection, instance normalisation, linear output. Running statistics that old versions of PyTorch saved
/// with instance normalisation are ignored. Throws Error that names the file, the tensor, its shape and the expected
/// one.
TransformNet read_transform_net(const SafetensorsReader& reader);
TransformNet read_transform_net(const std::filesystem::path& path);

/// Writes the same, atomically, with the options and `metadata` beside them; `storage` is f32 or f16. Throws Error when
/// a parameter is not finite (in f16: is beyond 65504).
void write_transform_net(const std::filesystem::path& path, const TransformNet& net,
                         const std::map<std::string, std::string>& metadata = {}, Dtype storage = Dtype::f32);

}  // namespace minidl::layers
