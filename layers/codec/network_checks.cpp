#include <minidl/core/codec/safetensors_header.h>
#include <minidl/layers/codec/network_checks.h>

#include <algorithm>
#include <cmath>
#include <set>

namespace minidl::layers {
namespace {

using Kind = LayerDescription::Kind;

constexpr size_t kMaxNameLength = 100;
constexpr int64_t kMaxKernel = 1024;
constexpr int64_t kMaxChannels = 1 << 20;

bool is_good_name(const std::string& name) {
  return !name.empty() && name.size() <= kMaxNameLength &&
         std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c <= '~' && c != '"' && c != '\\'; });
}

void check_window(const std::string& where, const LayerDescription& layer) {
  const Padding& pad = layer.window.padding;
  MINIDL_CHECK(pad.mode == Padding::Mode::zero, "{} pads by {}; network files know zeros only", where, pad.str());
  MINIDL_CHECK(std::min(layer.k_h, layer.k_w) >= 1 && std::max(layer.k_h, layer.k_w) <= kMaxKernel,
               "{} has a window of {} x {}; extents of 1 to {} are possible", where, layer.k_h, layer.k_w, kMaxKernel);
  MINIDL_CHECK(std::min(layer.window.stride_h, layer.window.stride_w) >= 1 &&
                   std::max(layer.window.stride_h, layer.window.stride_w) <= kMaxKernel,
               "{} has strides of {} and {}; 1 to {} are possible", where, layer.window.stride_h, layer.window.stride_w,
               kMaxKernel);
  MINIDL_CHECK(std::min({pad.top, pad.bottom, pad.left, pad.right}) >= 0 &&
                   std::max(pad.top, pad.bottom) <= layer.k_h && std::max(pad.left, pad.right) <= layer.k_w,
               "{} has padding {} with a window of {} x {}; 0 up to the window is possible", where, pad.str(),
               layer.k_h, layer.k_w);
}

void check_shape(const std::string& where, const char* what, const Tensor& values, const Shape& expected) {
  MINIDL_CHECK(!values || values.shape() == expected, "{} has a {} of shape {}, expected {}", where, what,
               values.shape().str(), expected.str());
}

}  // namespace

void check_network(const NetworkDescription& network) {
  MINIDL_CHECK(!network.layers.empty(), "[network] '{}' has no layers", network.source);
  std::set<std::string> names;
  int64_t channels = 3;
  std::string source = "the picture";
  for (const LayerDescription& layer : network.layers) {
    MINIDL_CHECK(is_good_name(layer.name),
                 "[network] '{}' has a layer called {}: a name has 1 to {} printable characters", network.source,
                 detail::printable(layer.name), kMaxNameLength);
    const std::string where = "[network] '" + network.source + "': layer '" + layer.name + "'";
    MINIDL_CHECK(names.insert(layer.name).second, "{} is there twice", where);
    if (layer.kind == Kind::conv || layer.kind == Kind::pool) check_window(where, layer);
    if (layer.kind == Kind::pool) {
      const Padding& pad = layer.window.padding;
      MINIDL_CHECK(std::max(pad.top, pad.bottom) < layer.k_h && std::max(pad.left, pad.right) < layer.k_w,
                   "{} pools over windows of {} x {} with padding {}; it must be smaller than the window", where,
                   layer.k_h, layer.k_w, pad.str());
    }
    if (layer.imitated_c != 0) {
      MINIDL_CHECK(layer.kind == Kind::relu, "{} stands for a teacher's layer; only a ReLU can", where);
      check_shape(where, "projection", layer.projection, {channels, 1, 1, channels});
    }
    if (layer.kind != Kind::conv) continue;
    MINIDL_CHECK(layer.in_c == channels,
                 "{} takes {} channels, but {} has {} (convolutions in groups are not supported)", where, layer.in_c,
                 source, channels);
    MINIDL_CHECK(layer.out_c >= 1 && layer.out_c <= kMaxChannels, "{} makes {} channels; 1 to {} are possible", where,
                 layer.out_c, kMaxChannels);
    check_shape(where, "weight", layer.weight, {layer.out_c, layer.k_h, layer.k_w, layer.in_c});
    check_shape(where, "bias", layer.bias, {layer.out_c});
    channels = layer.out_c;
    source = "layer '" + layer.name + "'";
  }
}

void check_finite(const NetworkDescription& network, const Tensor& values, const std::string& what) {
  const auto numbers = values.span<float>();
  const auto bad = std::find_if(numbers.begin(), numbers.end(), [](float value) { return !std::isfinite(value); });
  MINIDL_CHECK(bad == numbers.end(), "[network] '{}': {} has a value that is not finite ({}): the file is damaged",
               network.source, what, bad == numbers.end() ? 0.0f : *bad);
}

}  // namespace minidl::layers
