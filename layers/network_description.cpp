#include <minidl/core/nearest.h>
#include <minidl/layers/init.h>
#include <minidl/layers/network_description.h>

#include <algorithm>

namespace minidl::layers {
namespace {

using Kind = LayerDescription::Kind;

LayerDescription conv(std::string name, int64_t kernel, int64_t pad, int64_t in_c, int64_t out_c) {
  return {.kind = Kind::conv,
          .name = std::move(name),
          .window = {1, 1, Padding::zero(pad)},
          .k_h = kernel,
          .k_w = kernel,
          .in_c = in_c,
          .out_c = out_c};
}

LayerDescription pool(std::string name) {
  return {.kind = Kind::pool, .name = std::move(name), .window = {2, 2, {}}, .k_h = 2, .k_w = 2};
}

}  // namespace

size_t NetworkDescription::index_of(const std::string& name) const {
  std::vector<std::string> names;
  for (const LayerDescription& layer : layers) {
    if (layer.name == name) return names.size();
    names.push_back(layer.name);
  }
  std::string list;
  for (const std::string& known : names) list += (list.empty() ? "" : ", ") + known;
  const std::string nearest = nearest_name(name, names);
  fail("[network] '{}' has no layer '{}'{}; its layers are: {}", source, name,
       nearest.empty() ? "" : " (did you mean '" + nearest + "'?)", list);
}

bool NetworkDescription::is_student() const {
  return std::any_of(layers.begin(), layers.end(), [](const auto& layer) { return layer.imitated_c > 0; });
}

size_t NetworkDescription::index_of_tap(const std::string& name) const {
  const size_t index = index_of(name);
  if (layers[index].imitated_c > 0 || !is_student()) return index;
  std::string list;
  for (const LayerDescription& layer : layers) {
    if (layer.imitated_c > 0) list += (list.empty() ? "" : ", ") + layer.name;
  }
  fail(
      "[network] layer '{}' of '{}' stands for none of VGG's; those that do are: {} (the original network has all "
      "layers)",
      name, source, list);
}

size_t NetworkDescription::count_until(std::span<const std::string> names) const {
  if (names.empty()) return layers.size();
  size_t count = 0;
  for (const std::string& name : names) count = std::max(count, index_of(name) + 1);
  return count;
}

size_t NetworkDescription::fused_until(size_t first, std::span<const std::string> taps) const {
  using Kind = LayerDescription::Kind;
  const auto is_followed_by = [&](size_t i, Kind kind) {
    return i + 1 < layers.size() && layers[i + 1].kind == kind &&
           std::find(taps.begin(), taps.end(), layers[i].name) == taps.end();
  };
  if (layers[first].kind != Kind::conv || !is_followed_by(first, Kind::relu)) return first;
  const size_t relu = first + 1;
  if (!is_followed_by(relu, Kind::pool)) return relu;
  const LayerDescription& pool = layers[relu + 1];
  const bool side_by_side = pool.k_h == 2 && pool.k_w == 2 && pool.window.stride_h == 2 && pool.window.stride_w == 2;
  return side_by_side && !pool.window.padding.any() ? relu + 1 : relu;
}

NetworkDescription vgg_description(int depth, bool classifier) {
  MINIDL_CHECK(depth == 16 || depth == 19, "[vgg] depth is {}; there are VGG-16 and VGG-19", depth);
  NetworkDescription network;
  network.source = "VGG-" + std::to_string(depth);
  std::vector<LayerDescription>& layers = network.layers;
  constexpr int64_t kWidths[] = {64, 128, 256, 512, 512};
  int64_t in_c = 3;
  for (int block = 1; block <= 5; ++block) {
    const int convolutions = block <= 2 ? 2 : depth == 16 ? 3 : 4;
    for (int i = 1; i <= convolutions; ++i) {
      const std::string suffix = std::to_string(block) + "_" + std::to_string(i);
      layers.push_back(conv("conv" + suffix, 3, 1, in_c, kWidths[block - 1]));
      layers.push_back({.kind = Kind::relu, .name = "relu" + suffix});
      in_c = kWidths[block - 1];
    }
    layers.push_back(pool("pool" + std::to_string(block)));
  }
  if (!classifier) return network;
  layers.push_back(conv("fc6", 7, 0, 512, 4096));
  layers.push_back({.kind = Kind::relu, .name = "relu6"});
  layers.push_back(conv("fc7", 1, 0, 4096, 4096));
  layers.push_back({.kind = Kind::relu, .name = "relu7"});
  layers.push_back(conv("fc8", 1, 0, 4096, 1000));
  layers.push_back({.kind = Kind::softmax, .name = "prob"});
  return network;
}

void fill_random_weights(NetworkDescription& network, uint64_t seed) {
  for (size_t i = 0; i < network.layers.size(); ++i) {
    LayerDescription& layer = network.layers[i];
    if (layer.kind != Kind::conv) continue;
    if (!layer.weight) {
      Rng rng(seed, i);  // a stream per layer: the values do not depend on which layers are filled
      layer.weight = Tensor::empty({layer.out_c, layer.k_h, layer.k_w, layer.in_c});
      init::he_normal(layer.weight, rng);
    }
    if (!layer.bias) layer.bias = Tensor::zeros({layer.out_c});
  }
}

}  // namespace minidl::layers
