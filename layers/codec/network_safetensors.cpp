#include <minidl/core/codec/safetensors_header.h>
#include <minidl/core/error.h>
#include <minidl/core/safetensors.h>
#include <minidl/layers/codec/network_checks.h>
#include <minidl/layers/codec/network_json.h>
#include <minidl/layers/codec/network_safetensors.h>

#include <algorithm>

namespace minidl::layers {
namespace {

using Kind = LayerDescription::Kind;

/// torchvision's models expect (rgb / 255 - mean) / deviation.
constexpr double kTorchvisionMean[] = {0.485, 0.456, 0.406};
constexpr double kTorchvisionDeviation[] = {0.229, 0.224, 0.225};

/// How torchvision calls a layer of VGG: the convolutions by their index in the chain of `features`, the fully
/// connected layers by theirs in `classifier`, where ReLU and dropout lie between.
std::string torchvision_prefix(const std::string& layer, size_t index) {
  if (layer == "fc6") return "classifier.0";
  if (layer == "fc7") return "classifier.3";
  if (layer == "fc8") return "classifier.6";
  return "features." + std::to_string(index);
}

/// Name of a layer's tensors without ".weight" or ".bias".
std::string prefix_of(const NetworkDescription& network, size_t index, bool torchvision) {
  const std::string& name = network.layers[index].name;
  return torchvision ? torchvision_prefix(name, index) : name;
}

std::string list_of_tensors(const SafetensorsReader& reader) {
  constexpr size_t kListed = 8;
  std::string list;
  for (size_t i = 0; i < std::min(kListed, reader.tensors().size()); ++i) {
    list += (i ? ", " : "") + detail::printable(reader.tensors()[i].first);
  }
  return reader.tensors().size() > kListed ? list + ", ..." : list;
}

/// Number of layers of `network` up to the last convolution whose weight the file has and what follows it without
/// weights; 0 when an earlier convolution is missing, or the file has convolutions that the network lacks.
size_t covered_layers(const SafetensorsReader& reader, const NetworkDescription& network, bool torchvision) {
  size_t found = 0, covered = 0;
  bool missing = false;
  for (size_t i = 0; i < network.layers.size(); ++i) {
    if (network.layers[i].kind == Kind::conv) {
      const bool is_there = reader.contains(prefix_of(network, i, torchvision) + ".weight");
      if (is_there && missing) return 0;
      missing = missing || !is_there;
      found += is_there ? 1 : 0;
    }
    if (!missing) covered = i + 1;
  }
  const auto is_weight = [](const auto& tensor) { return tensor.first.ends_with(".weight"); };
  const auto weights = std::count_if(reader.tensors().begin(), reader.tensors().end(), is_weight);
  return found > 0 && weights == static_cast<int64_t>(found) ? covered : 0;
}

/// VGG-19 or VGG-16 or the beginning of one, told from the names of the tensors.
void recognise_vgg(const SafetensorsReader& reader, bool torchvision, NetworkDescription& network) {
  for (const int depth : {19, 16}) {
    NetworkDescription known = vgg_description(depth, true);
    const size_t covered = covered_layers(reader, known, torchvision);
    if (covered == 0) continue;
    network.layers.assign(known.layers.begin(), known.layers.begin() + static_cast<std::ptrdiff_t>(covered));
    return;
  }
  fail(
      "[network] '{}' has neither a list of layers in its metadata nor the tensors of VGG-16 or VGG-19 under "
      "torchvision's names (features.0.weight, ...) or layer names (conv1_1.weight, ...); it has: {}",
      network.source, reader.tensors().empty() ? "nothing" : list_of_tensors(reader));
}

/// In f32; `shape` is that of the file's order.
Tensor read_tensor(const SafetensorsReader& reader, const NetworkDescription& network, const std::string& name,
                   const Shape& shape) {
  MINIDL_CHECK(reader.contains(name), "[network] '{}' has no tensor '{}'", network.source, name);
  const SafetensorsReader::Info& info = reader.info(name);
  const Dtype dtype = info.dtype;
  MINIDL_CHECK(dtype == Dtype::f32 || dtype == Dtype::f16 || dtype == Dtype::bf16,
               "[network] '{}': tensor '{}' is {}, expected f32, f16 or bf16", network.source, name, to_string(dtype));
  const Shape matrix = shape.rank() == 4 ? Shape{shape[0], shape.count() / shape[0]} : shape;
  MINIDL_CHECK(info.shape == shape || info.shape == matrix, "[network] '{}': tensor '{}' has shape {}, expected {}{}",
               network.source, name, info.shape.str(), shape.str(), matrix == shape ? "" : " or " + matrix.str());
  Tensor values = reader.read(name).to(Dtype::f32);
  check_finite(network, values, "tensor '" + name + "'");
  return values.reshape(shape);
}

void load_weights(const SafetensorsReader& reader, const NetworkDescription& network, const std::string& prefix,
                  LayerDescription& layer) {
  const Shape file_order{layer.out_c, layer.in_c, layer.k_h, layer.k_w};
  layer.weight = to_channels_last(read_tensor(reader, network, prefix + ".weight", file_order));
  layer.bias = read_tensor(reader, network, prefix + ".bias", {layer.out_c});
}

/// Whether the network expects torchvision's input; `torchvision_names` decides where the metadata says nothing.
bool expects_torchvision_input(const NetworkMetadata& metadata, bool torchvision_names, const std::string& source) {
  const auto range = metadata.find("input_range");
  if (range == metadata.end()) return torchvision_names && !metadata.contains("mean");
  MINIDL_CHECK(range->second == kInputMinusMean || range->second == kInputTorchvision,
               "[network] '{}': metadata: input_range is {}, expected '{}' or '{}'", source,
               detail::printable(range->second), kInputMinusMean, kInputTorchvision);
  return range->second == kInputTorchvision;
}

/// Turns weights for (rgb / 255 - m) / s into those for rgb - 255 m: w / (255 s) per input channel.
void fold_torchvision_input(NetworkDescription& network) {
  for (size_t c = 0; c < 3; ++c) network.mean[c] = static_cast<float>(255.0 * kTorchvisionMean[c]);
  network.input_unit = kTorchvisionInputUnit;
  const auto first = std::find_if(network.layers.begin(), network.layers.end(),
                                  [](const LayerDescription& layer) { return layer.kind == Kind::conv; });
  if (first == network.layers.end() || !first->weight) return;
  const auto values = first->weight.span<float>();
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(static_cast<double>(values[i]) / (255.0 * kTorchvisionDeviation[i % 3]));
  }
}

}  // namespace

NetworkDescription read_network_safetensors(const std::filesystem::path& path, const std::vector<std::string>& until) {
  const SafetensorsReader reader(path);
  NetworkDescription network;
  network.source = path.string();
  apply_metadata(reader.metadata(), network);
  const bool torchvision = network.layers.empty() && reader.contains("features.0.weight");
  if (network.layers.empty()) recognise_vgg(reader, torchvision, network);
  check_network(network);
  const size_t count = network.count_until(until);
  for (size_t i = 0; i < count; ++i) {
    if (network.layers[i].kind != Kind::conv) continue;
    load_weights(reader, network, prefix_of(network, i, torchvision), network.layers[i]);
  }
  if (expects_torchvision_input(reader.metadata(), torchvision, network.source)) fold_torchvision_input(network);
  return network;
}

void write_network_safetensors(const std::filesystem::path& path, const NetworkDescription& network) {
  SafetensorsContent content;
  content.metadata = to_metadata(network);
  for (const LayerDescription& layer : network.layers) {
    if (layer.kind != Kind::conv) continue;
    content.tensors.emplace_back(layer.name + ".weight", to_channels_first(layer.weight));
    content.tensors.emplace_back(layer.name + ".bias", layer.bias);
  }
  write_safetensors(path, content);
}

}  // namespace minidl::layers
