#pragma once
#include <minidl/core/safetensors.h>

namespace minidl::detail {

/// The JSON part of a safetensors file, checked; tensors in the order of their data.
struct SafetensorsHeader {
  std::vector<std::pair<std::string, SafetensorsReader::Info>> tensors;
  std::map<std::string, std::string> metadata;
};
/// Parses `json`, in a file with `data_bytes` after it. `file` is for errors: throws Error naming it and the tensor.
SafetensorsHeader parse_safetensors_header(const std::string& file, const std::string& json, int64_t data_bytes);

constexpr const char* kSafetensorsMetadata = "__metadata__";
/// Names of element types in the file.
constexpr std::pair<const char*, Dtype> kSafetensorsDtypes[] = {
    {"F32", Dtype::f32}, {"F16", Dtype::f16}, {"BF16", Dtype::bf16}, {"F64", Dtype::f64},
    {"I64", Dtype::i64}, {"I32", Dtype::i32}, {"I8", Dtype::i8},     {"U8", Dtype::u8}};

/// Text from a file in quotes, as one short printable line.
std::string printable(std::string_view text);

}  // namespace minidl::detail
