#include <fmt/format.h>
#include <minidl/apps/saved_run.h>

#include <cstring>
#include <map>
#include <sstream>

namespace minidl {
namespace {

std::map<std::string, std::string> by_name(const std::string& fingerprint) {
  std::map<std::string, std::string> values;
  std::istringstream words(fingerprint);
  std::string name, value;
  while (words >> name >> value) values[name] = value;
  return values;
}

/// The other settings; all of them for an empty name.
std::string without(const std::string& fingerprint, const std::string& name) {
  if (name.empty()) return fingerprint;
  std::string others, word, value;
  for (std::istringstream words(fingerprint); words >> word >> value;) {
    if (word != name) others += word + " " + value + " ";
  }
  return others;
}

std::string differences(const std::string& before, const std::string& now) {
  const std::map<std::string, std::string> was = by_name(before);
  std::string text;
  for (const auto& [name, value] : by_name(now)) {
    const auto found = was.find(name);
    const std::string old = found == was.end() ? "not there" : found->second;
    if (old != value) text += fmt::format("{}{} was {}, is now {}", text.empty() ? "" : "; ", name, old, value);
  }
  return text.empty() ? "they cannot be compared" : text;
}

}  // namespace

uint64_t picture_hash(const Tensor& picture) {
  uint64_t hash = 0xcbf29ce484222325u;
  const auto add = [&](const void* data, size_t bytes) {
    for (size_t i = 0; i < bytes; ++i) hash = (hash ^ static_cast<const unsigned char*>(data)[i]) * 0x100000001b3u;
  };
  for (const int64_t extent : picture.shape()) add(&extent, sizeof extent);
  add(picture.raw(), static_cast<size_t>(picture.bytes()));
  return hash;
}

Tensor tensor_of(const std::vector<double>& numbers) {
  Tensor tensor = Tensor::empty({static_cast<int64_t>(numbers.size())}, Dtype::f64);
  if (!numbers.empty()) std::memcpy(tensor.raw(), numbers.data(), numbers.size() * sizeof(double));
  return tensor;
}

std::vector<double> numbers_of(const SafetensorsReader& reader, const std::string& name) {
  const Tensor tensor = reader.read(name);
  MINIDL_CHECK(tensor.dtype() == Dtype::f64, "[resume] '{}' is damaged: its {} has type {}, it must be f64",
               reader.path().string(), name, to_string(tensor.dtype()));
  const std::span<const double> values = tensor.span<double>();
  return {values.begin(), values.end()};
}

void append_with_prefix(SafetensorsContent& content, std::string_view prefix,
                        const std::map<std::string, Tensor>& tensors) {
  for (const auto& [name, tensor] : tensors) content.tensors.emplace_back(std::string(prefix) + name, tensor);
}

std::map<std::string, Tensor> state_with_prefix(const SafetensorsReader& reader, std::string_view prefix) {
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, info] : reader.tensors()) {
    if (name.starts_with(prefix)) tensors[name.substr(prefix.size())] = reader.read(name);
  }
  return tensors;
}

std::string metadata_of(const SafetensorsReader& reader, const std::string& key) {
  const auto found = reader.metadata().find(key);
  return found == reader.metadata().end() ? std::string() : found->second;
}

void check_same_settings(const SafetensorsReader& reader, const std::string& fingerprint,
                         const std::string& other_than) {
  const std::string saved = without(metadata_of(reader, "settings"), other_than),
                    now = without(fingerprint, other_than);
  MINIDL_CHECK(saved == now, "[resume] '{}' was saved with other settings: {}", reader.path().string(),
               differences(saved, now));
}

}  // namespace minidl
