#include <minidl/core/codec/safetensors_header.h>
#include <minidl/layers/codec/network_json.h>

#include <cmath>
#include <nlohmann/json.hpp>

namespace minidl::layers {
namespace {

using nlohmann::json;
using Kind = LayerDescription::Kind;

constexpr std::pair<Kind, const char*> kKinds[] = {
    {Kind::conv, "conv"}, {Kind::relu, "relu"}, {Kind::pool, "pool"}, {Kind::softmax, "softmax"}};
constexpr const char* kFormat = "minidl-network";
constexpr const char* kFormatVersion = "1";
constexpr std::string_view kNotePrefix = "note.";
constexpr int64_t kMaxNumber = 1 << 20;

json to_json(const LayerDescription& layer) {
  json result;
  for (const auto& [kind, name] : kKinds) {
    if (kind == layer.kind) result["kind"] = name;
  }
  result["name"] = layer.name;
  if (layer.imitated_c > 0) result["imitates"] = layer.imitated_c;
  if (layer.kind != Kind::conv && layer.kind != Kind::pool) return result;
  const Padding& pad = layer.window.padding;
  result["kernel"] = {layer.k_h, layer.k_w};
  result["stride"] = {layer.window.stride_h, layer.window.stride_w};
  result["pad"] = {pad.top, pad.bottom, pad.left, pad.right};
  if (layer.kind == Kind::conv) result["channels"] = {layer.in_c, layer.out_c};
  if (layer.kind == Kind::pool) result["method"] = layer.pool == PoolKind::max ? "max" : "average";
  return result;
}

/// Reads parsed values; every error names the file and the key.
class MetadataReader {
 public:
  MetadataReader(const NetworkMetadata& metadata, const std::string& source) : metadata_(metadata), source_(source) {}

  /// The list that a key holds, or an empty one where there is no such key.
  json list(const std::string& key) const {
    const auto found = metadata_.find(key);
    if (found == metadata_.end()) return json::array();
    json value = json::parse(found->second, nullptr, false);
    if (!value.is_array()) reject(key + " is no list in JSON: " + detail::printable(found->second));
    return value;
  }

  /// The positive number that a key holds, or `otherwise` where there is no such key.
  float positive_number(const std::string& key, float otherwise) const {
    const auto found = metadata_.find(key);
    if (found == metadata_.end()) return otherwise;
    const json value = json::parse(found->second, nullptr, false);
    const bool is_fine = value.is_number() && std::isfinite(value.get<float>()) && value.get<float>() > 0;
    if (!is_fine) reject(key + " is no positive number: " + detail::printable(found->second));
    return value.get<float>();
  }

  std::string word(const json& object, const std::string& key) const {
    const auto found = object.find(key);
    if (found == object.end() || !found->is_string()) reject("a layer has no text '" + key + "'");
    return found->get<std::string>();
  }

  template <size_t count>
  std::array<int64_t, count> integers(const json& object, const std::string& key) const {
    std::array<int64_t, count> result;
    const auto found = object.find(key);
    if (found == object.end() || !found->is_array() || found->size() != count) {
      reject("a layer has no list '" + key + "' of " + std::to_string(count) + " numbers");
    }
    for (size_t i = 0; i < count; ++i) result[i] = integer((*found)[i], key);
    return result;
  }

  int64_t integer(const json& value, const std::string& key) const {
    if (!value.is_number_integer() || value.get<int64_t>() < 0 || value.get<int64_t>() > kMaxNumber) {
      reject("'" + key + "' of a layer has a value that is no whole number from 0 to " + std::to_string(kMaxNumber));
    }
    return value.get<int64_t>();
  }

  LayerDescription layer(const json& object) const {
    if (!object.is_object()) reject("layers has an element that is no object");
    LayerDescription result;
    result.name = word(object, "name");
    const std::string kind = word(object, "kind");
    const auto* known = std::find_if(std::begin(kKinds), std::end(kKinds), [&](auto& k) { return kind == k.second; });
    if (known == std::end(kKinds)) reject("layer kind " + detail::printable(kind) + " does not exist");
    result.kind = known->first;
    if (object.contains("imitates")) result.imitated_c = integer(object["imitates"], "imitates");
    if (result.kind != Kind::conv && result.kind != Kind::pool) return result;
    const auto kernel = integers<2>(object, "kernel"), stride = integers<2>(object, "stride");
    const auto pad = integers<4>(object, "pad");
    result.k_h = kernel[0];
    result.k_w = kernel[1];
    result.window = {stride[0], stride[1], {Padding::Mode::zero, pad[0], pad[1], pad[2], pad[3]}};
    if (result.kind == Kind::conv) {
      const auto channels = integers<2>(object, "channels");
      result.in_c = channels[0];
      result.out_c = channels[1];
    } else {
      const std::string method = word(object, "method");
      if (method != "max" && method != "average")
        reject("pooling method " + detail::printable(method) + " does not exist");
      result.pool = method == "max" ? PoolKind::max : PoolKind::average;
    }
    return result;
  }

  [[noreturn]] void reject(const std::string& what) const { fail("[network] '{}': metadata: {}", source_, what); }

 private:
  const NetworkMetadata& metadata_;
  const std::string& source_;
};

}  // namespace

NetworkMetadata to_metadata(const NetworkDescription& network) {
  json layers = json::array();
  for (const LayerDescription& layer : network.layers) layers.push_back(to_json(layer));
  NetworkMetadata metadata = {{"format", kFormat},
                              {"format_version", kFormatVersion},
                              {"layers", layers.dump()},
                              {"input_range", kInputMinusMean},
                              {"mean", json(network.mean).dump()}};
  if (network.input_unit != 1.0f) metadata["input_unit"] = json(network.input_unit).dump();
  if (!network.class_names.empty()) {
    metadata["class_names"] = json(network.class_names).dump(-1, ' ', false, json::error_handler_t::replace);
  }
  for (const auto& [key, note] : network.notes) metadata[std::string(kNotePrefix) + key] = note;
  return metadata;
}

void apply_metadata(const NetworkMetadata& metadata, NetworkDescription& network) {
  const MetadataReader reader(metadata, network.source);
  const auto format = metadata.find("format"), version = metadata.find("format_version");
  if (format != metadata.end() && format->second == kFormat && version != metadata.end() &&
      version->second != kFormatVersion) {
    reader.reject("format version " + detail::printable(version->second) + " is newer than this program");
  }
  for (const json& layer : reader.list("layers")) network.layers.push_back(reader.layer(layer));
  const json mean = reader.list("mean");
  if (!mean.empty()) {
    for (size_t i = 0; i < network.mean.size(); ++i) {
      if (mean.size() != 3 || !mean[i].is_number() || !std::isfinite(mean[i].get<float>())) {
        reader.reject("mean is not three numbers");
      }
      network.mean[i] = mean[i].get<float>();
    }
  }
  network.input_unit = reader.positive_number("input_unit", network.input_unit);
  for (const json& name : reader.list("class_names")) {
    if (!name.is_string()) reader.reject("class_names is not a list of texts");
    network.class_names.push_back(name.get<std::string>());
  }
  for (const auto& [key, note] : metadata) {
    if (key.starts_with(kNotePrefix)) network.notes[key.substr(kNotePrefix.size())] = note;
  }
}

}  // namespace minidl::layers
