#pragma once
#include <minidl/core/safetensors.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace minidl {

/// What the files of interrupted runs share. Messages begin with [resume] and name the file.

/// 64-bit FNV-1a over shape and bytes: tells whether a saved run belongs to a picture.
uint64_t picture_hash(const Tensor& picture);
/// Numbers that survive bit for bit: a tensor [n], f64.
Tensor tensor_of(const std::vector<double>& numbers);
/// The reverse. Throws Error when it is missing or of another type.
std::vector<double> numbers_of(const SafetensorsReader& reader, const std::string& name);
/// Adds tensors under their names with a prefix, and finds those of a file again.
void append_with_prefix(SafetensorsContent& content, std::string_view prefix,
                        const std::map<std::string, Tensor>& tensors);
std::map<std::string, Tensor> state_with_prefix(const SafetensorsReader& reader, std::string_view prefix);
/// Empty when it is missing.
std::string metadata_of(const SafetensorsReader& reader, const std::string& key);
/// Throws Error unless the file's "settings" are `fingerprint` ("alpha 1 beta 30 ..."), but for that of the name
/// `other_than`: says what differs ("beta was 30, is now 3").
void check_same_settings(const SafetensorsReader& reader, const std::string& fingerprint,
                         const std::string& other_than = {});

}  // namespace minidl
