#include <fmt/format.h>
#include <minidl/apps/convert_transform_net.h>
#include <minidl/core/file.h>
#include <minidl/layers/transform_net_weights.h>

#include <algorithm>
#include <span>

namespace minidl::apps {
namespace {

constexpr size_t kShownHash = 16;  // digits in the table; --verbose shows all
constexpr size_t kFirstValues = 3;

std::string hash_of(const Tensor& tensor) {
  const std::span<const std::byte> pieces[] = {std::as_bytes(tensor.span<float>())};
  return sha256_of_bytes(pieces);
}

std::span<const float> first_values(const Tensor& tensor) {
  const std::span<const float> values = tensor.span<float>();
  return values.first(std::min(kFirstValues, values.size()));
}

}  // namespace

bool is_transform_net(const std::filesystem::path& path) {
  try {
    return SafetensorsReader(path).contains("conv1.conv2d.weight");
  } catch (const Error&) {
    return false;
  }
}

StoredNet read_stored_net(const std::filesystem::path& path) {
  StoredNet stored{layers::TransformNet::load(path), SafetensorsReader(path).metadata()};
  for (const char* own : {"format", "format_version", "producer"}) stored.metadata.erase(own);
  for (const auto& [name, value] : layers::to_text(stored.net.options())) stored.metadata.erase(name);
  return stored;
}

std::string net_table(const StoredNet& stored, bool verbose) {
  std::string text = "transform net";
  for (const auto& [name, value] : layers::to_text(stored.net.options())) text += fmt::format(", {} {}", name, value);
  text += fmt::format("\n{:<28}  {:<16}  {:>10}  {:<{}}  {}\n", "name", "shape", "parameters", "SHA-256",
                      verbose ? 64 : kShownHash, "first values");
  for (const auto& [name, tensor] : stored.net.state().tensors) {
    text += fmt::format("{:<28}  {:<16}  {:>10}  {}  {:.8g}\n", name, tensor.shape().str(), tensor.count(),
                        hash_of(tensor).substr(0, verbose ? std::string::npos : kShownHash),
                        fmt::join(first_values(tensor), " "));
  }
  text += fmt::format("{} parameters\n", stored.net.parameter_count());
  for (const auto& [key, value] : stored.metadata) text += fmt::format("metadata {}: {}\n", key, value);
  return text;
}

Json net_json(const StoredNet& stored) {
  Json json;
  json["options"] = layers::to_text(stored.net.options());
  json["metadata"] = stored.metadata;
  json["parameters"] = stored.net.parameter_count();
  for (const auto& [name, tensor] : stored.net.state().tensors) {
    const Shape& shape = tensor.shape();
    json["tensors"].push_back(
        {{"name", name},
         {"shape", std::vector<int64_t>(shape.begin(), shape.end())},
         {"sha256", hash_of(tensor)},
         {"first_values", std::vector<float>(first_values(tensor).begin(), first_values(tensor).end())}});
  }
  return json;
}

}  // namespace minidl::apps
