#include <minidl/core/codec/safetensors_header.h>
#include <minidl/core/error.h>
#include <minidl/kernels/reduce.h>
#include <minidl/layers/codec/network_checks.h>
#include <minidl/layers/codec/network_json.h>
#include <minidl/layers/codec/network_safetensors.h>

#include <algorithm>
#include <cmath>

namespace minidl::layers {
namespace {

using Kind = LayerDescription::Kind;

/// torchvision's models expect (rgb / 255 - mean) / deviation.
constexpr double kTorchvisionMean[] = {0.485, 0.456, 0.406};
constexpr double kTorchvisionDeviation[] = {0.229, 0.224, 0.225};
constexpr float kLargestHalf = 65504.0f;
constexpr float kLargestCode = 127.0f;  // of a weight of 8 bits

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

void multiply_filters(Tensor& weight, std::span<const float> scales) {
  const std::span<float> values = weight.span<float>();
  const size_t length = values.size() / scales.size();
  for (size_t i = 0; i < values.size(); ++i) values[i] *= scales[i / length];
}

/// In f32; `shape` is that of the file's order.
Tensor read_tensor(const SafetensorsReader& reader, const NetworkDescription& network, const std::string& name,
                   const Shape& shape, bool may_be_i8 = false) {
  MINIDL_CHECK(reader.contains(name), "[network] '{}' has no tensor '{}'", network.source, name);
  const SafetensorsReader::Info& info = reader.info(name);
  const Dtype dtype = info.dtype;
  MINIDL_CHECK(dtype == Dtype::f32 || dtype == Dtype::f16 || dtype == Dtype::bf16 || (dtype == Dtype::i8 && may_be_i8),
               "[network] '{}': tensor '{}' is {}, expected f32, f16{} bf16{}", network.source, name, to_string(dtype),
               may_be_i8 ? "," : " or", may_be_i8 ? " or i8" : "");
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
  layer.weight = to_channels_last(read_tensor(reader, network, prefix + ".weight", file_order, true));
  if (reader.info(prefix + ".weight").dtype == Dtype::i8) {
    const Tensor scales = read_tensor(reader, network, prefix + ".weight_scale", {layer.out_c});
    multiply_filters(layer.weight, scales.span<float>());
  }
  layer.bias = read_tensor(reader, network, prefix + ".bias", {layer.out_c});
}

void load_projection(const SafetensorsReader& reader, const NetworkDescription& network, int64_t channels,
                     LayerDescription& layer) {
  layer.projection = read_tensor(reader, network, layer.name + ".projection", {channels, channels})
                         .reshape({channels, 1, 1, channels});
}

/// Throws Error for values that f16 does not have.
void append_stored(SafetensorsContent& content, const NetworkDescription& network, const std::string& name,
                   const Tensor& values, Dtype storage) {
  MINIDL_CHECK(
      storage != Dtype::f16 || max_abs(values) <= kLargestHalf,
      "[network] cannot write '{}' as f16: tensor '{}' has values up to {}, f16 goes up to {}; use bf16 or f32",
      network.source, name, max_abs(values), kLargestHalf);
  content.tensors.emplace_back(name, values.to(storage));
}

/// A weight of 8 bits: each filter is divided by its scale, so that its largest value is 127.
void append_quantised(SafetensorsContent& content, const std::string& name, const Tensor& weight) {
  const Shape& shape = weight.shape();
  Tensor scales = Tensor::empty({shape[0]}), values = Tensor::empty(shape, Dtype::i8);
  const std::span<float> scale = scales.span<float>();
  const std::span<const float> source = weight.span<float>();
  const std::span<int8_t> target = values.span<int8_t>();
  const size_t length = source.size() / scale.size();
  for (size_t i = 0; i < scale.size(); ++i) {
    float largest = 0.0f;
    for (const float value : source.subspan(i * length, length)) largest = std::max(largest, std::fabs(value));
    scale[i] = largest / kLargestCode;
    for (size_t k = i * length; k < (i + 1) * length; ++k)
      target[k] = static_cast<int8_t>(largest > 0 ? std::lround(source[k] / scale[i]) : 0);
  }
  content.tensors.emplace_back(name, values);
  content.tensors.emplace_back(name + "_scale", scales);
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

NetworkDescription read_network_safetensors(const SafetensorsReader& reader, const std::vector<std::string>& until) {
  NetworkDescription network;
  network.source = reader.path().string();
  apply_metadata(reader.metadata(), network);
  const bool torchvision = network.layers.empty() && reader.contains("features.0.weight");
  if (network.layers.empty()) recognise_vgg(reader, torchvision, network);
  check_network(network);
  const size_t count = network.count_until(until);
  int64_t channels = 3;
  for (size_t i = 0; i < count; ++i) {
    LayerDescription& layer = network.layers[i];
    if (layer.imitated_c > 0) load_projection(reader, network, channels, layer);
    if (layer.kind != Kind::conv) continue;
    load_weights(reader, network, prefix_of(network, i, torchvision), layer);
    channels = layer.out_c;
  }
  if (expects_torchvision_input(reader.metadata(), torchvision, network.source)) fold_torchvision_input(network);
  return network;
}

void write_network_safetensors(const std::filesystem::path& path, const NetworkDescription& network, Dtype storage) {
  const Dtype others = storage == Dtype::i8 ? Dtype::f16 : storage;
  SafetensorsContent content;
  content.metadata = to_metadata(network);
  for (const LayerDescription& layer : network.layers) {
    if (layer.projection) {
      const int64_t channels = layer.projection.shape()[0];
      append_stored(content, network, layer.name + ".projection", layer.projection.reshape({channels, channels}),
                    others);
    }
    if (layer.kind != Kind::conv) continue;
    const Tensor weight = to_channels_first(layer.weight);
    if (storage == Dtype::i8) {
      append_quantised(content, layer.name + ".weight", weight);
    } else {
      append_stored(content, network, layer.name + ".weight", weight, storage);
    }
    append_stored(content, network, layer.name + ".bias", layer.bias, others);
  }
  write_safetensors(path, content);
}

}  // namespace minidl::layers
