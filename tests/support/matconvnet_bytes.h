#pragma once
#include <minidl/layers/network_description.h>
#include <support/compare.h>
#include <support/mat_bytes.h>
#include <support/random_tensors.h>

#include <algorithm>
#include <array>

/// MatConvNet files of every layout in circulation; see layers/codec/matconvnet.h for (a) to (d).
namespace minidl::test {

struct MatLayout {
  char fields = 'd';  // 'a' to 'd'
  bool compress = true;
  bool byte_numbers = false;   // pad, stride, ... stored as bytes instead of doubles
  bool scalar_window = false;  // pad and stride as one number where all are equal
  bool flat_bias = false;      // 1 x K instead of K x 1
  bool double_weights = false;
  bool drop_trailing = false;  // dimensions of extent 1 at the end of filters
  bool names = true;
  bool old_meta = false;  // variables `normalization` and `classes` instead of `meta`
  int mean_side = 1;      // averageImage is side x side x 3
};

namespace mat {

inline std::string numbers(const std::vector<double>& values, const MatLayout& layout) {
  const std::vector<int32_t> dims = {1, static_cast<int32_t>(values.size())};
  return layout.byte_numbers ? doubles_as_bytes(dims, values) : doubles(dims, values);
}

inline std::string window_numbers(std::vector<int64_t> values, const MatLayout& layout) {
  const bool equal = std::all_of(values.begin(), values.end(), [&](int64_t value) { return value == values[0]; });
  if (layout.scalar_window && equal) values.resize(1);
  return numbers({values.begin(), values.end()}, layout);
}

inline std::string weights(std::vector<int32_t> dims, const std::vector<float>& values, const MatLayout& layout) {
  while (layout.drop_trailing && dims.size() > 2 && dims.back() == 1) dims.pop_back();
  return layout.double_weights ? doubles(dims, {values.begin(), values.end()}) : singles(dims, values);
}

/// weight[k][h][w][c] at F[h, w, c, k], h fastest.
inline std::string filters(const layers::LayerDescription& layer, const MatLayout& layout) {
  const float* weight = std::as_const(layer.weight).data<float>();
  std::vector<float> values;
  for (int64_t k = 0; k < layer.out_c; ++k) {
    for (int64_t c = 0; c < layer.in_c; ++c) {
      for (int64_t w = 0; w < layer.k_w; ++w) {
        for (int64_t h = 0; h < layer.k_h; ++h) {
          values.push_back(weight[((k * layer.k_h + h) * layer.k_w + w) * layer.in_c + c]);
        }
      }
    }
  }
  return weights({static_cast<int32_t>(layer.k_h), static_cast<int32_t>(layer.k_w), static_cast<int32_t>(layer.in_c),
                  static_cast<int32_t>(layer.out_c)},
                 values, layout);
}

inline std::string bias(const layers::LayerDescription& layer, const MatLayout& layout) {
  const auto values = std::as_const(layer.bias).span<float>();
  const auto count = static_cast<int32_t>(values.size());
  MatLayout both_dimensions = layout;
  both_dimensions.drop_trailing = false;
  return weights(layout.flat_bias ? std::vector<int32_t>{1, count} : std::vector<int32_t>{count, 1},
                 {values.begin(), values.end()}, both_dimensions);
}

inline std::string conv_cell(const layers::LayerDescription& layer, const MatLayout& layout) {
  const Padding& padding = layer.window.padding;
  const std::string pad = window_numbers({padding.top, padding.bottom, padding.left, padding.right}, layout);
  const std::string stride = window_numbers({layer.window.stride_h, layer.window.stride_w}, layout);
  const std::pair<std::string, std::string> type{"type", text("conv")}, name{"name", text(layer.name)};
  Fields fields;
  if (layout.fields == 'a') {
    fields = {
        type, {"filters", filters(layer, layout)}, {"biases", bias(layer, layout)}, {"stride", stride}, {"pad", pad}};
    if (layout.names) fields.push_back(name);
    return structure(fields);
  }
  const std::pair<std::string, std::string> both{"weights", cell({filters(layer, layout), bias(layer, layout)})};
  if (layout.fields == 'b') {
    fields = {both, {"pad", pad}, type};
    if (layout.names) fields.push_back(name);
    fields.emplace_back("stride", stride);
    return structure(fields);
  }
  if (layout.names) fields.push_back(name);
  const std::vector<double> size = {double(layer.k_h), double(layer.k_w), double(layer.in_c), double(layer.out_c)};
  fields.insert(fields.end(), {type, both, {"size", doubles({1, 4}, size)}, {"pad", pad}, {"stride", stride}});
  fields.emplace_back("precious", doubles_as_bytes({1, 1}, {0}));
  if (layout.fields == 'd') fields.emplace_back("dilate", numbers({1}, layout));
  fields.emplace_back("opts", cell({}));
  return structure(fields);
}

inline std::string layer_cell(const layers::LayerDescription& layer, const MatLayout& layout) {
  using Kind = layers::LayerDescription::Kind;
  if (layer.kind == Kind::conv) return conv_cell(layer, layout);
  Fields fields;
  if (layout.names) fields.emplace_back("name", text(layer.name));
  if (layer.kind == Kind::relu) fields.emplace_back("type", text("relu"));
  if (layer.kind == Kind::softmax) fields.emplace_back("type", text("softmax"));
  if (layer.kind == Kind::pool) {
    const Padding& pad = layer.window.padding;
    fields.emplace_back("type", text("pool"));
    fields.emplace_back("stride", window_numbers({layer.window.stride_h, layer.window.stride_w}, layout));
    fields.emplace_back("pad", window_numbers({pad.top, pad.bottom, pad.left, pad.right}, layout));
    fields.emplace_back("method", text(layer.pool == PoolKind::max ? "max" : "avg"));
    fields.emplace_back("pool", numbers({double(layer.k_h), double(layer.k_w)}, layout));
  }
  return structure(fields);
}

inline std::string normalization(const std::array<float, 3>& mean, int side, const std::string& name = "") {
  std::vector<float> image;
  for (const float value : mean) image.insert(image.end(), static_cast<size_t>(side) * side, value);
  return structure({{"imageSize", doubles({1, 3}, {224, 224, 3})},
                    {"averageImage", singles({side, side, 3}, image)},
                    {"interpolation", text("bilinear")}},
                   name);
}

inline std::string classes(const std::vector<std::string>& names, const std::string& name = "") {
  std::vector<std::string> texts;
  for (const std::string& one : names) texts.push_back(text(one));
  return structure({{"name", cell({})}, {"description", cell(texts)}}, name);
}

}  // namespace mat

/// The whole file.
inline std::string matconvnet_bytes(const layers::NetworkDescription& network, const MatLayout& layout) {
  std::vector<std::string> cells;
  for (const layers::LayerDescription& layer : network.layers) cells.push_back(mat::layer_cell(layer, layout));
  std::vector<std::string> variables;
  if (layout.old_meta) variables.push_back(mat::classes(network.class_names, "classes"));
  variables.push_back(mat::cell(cells, "layers"));
  if (layout.old_meta) {
    variables.push_back(mat::normalization(network.mean, layout.mean_side, "normalization"));
  } else {
    variables.push_back(mat::structure({{"normalization", mat::normalization(network.mean, layout.mean_side)},
                                        {"classes", mat::classes(network.class_names)}},
                                       "meta"));
  }
  return mat::file(variables, layout.compress);
}

/// Two blocks with every kind of layer, odd windows and sides that differ, whole numbers as weights.
inline layers::NetworkDescription small_network() {
  using layers::LayerDescription;
  using Kind = LayerDescription::Kind;
  layers::NetworkDescription network;
  network.mean = {120.5f, 110.25f, 100.125f};
  network.class_names = {"a cat", "a dog", "neither", "both", "1"};
  const auto conv = [&](const std::string& name, Window window, Shape shape) {
    LayerDescription layer;
    layer.kind = Kind::conv;
    layer.name = name;
    layer.window = window;
    layer.out_c = shape[0];
    layer.k_h = shape[1];
    layer.k_w = shape[2];
    layer.in_c = shape[3];
    layer.weight = random_integers(shape, 7 + network.layers.size());
    layer.bias = random_integers({shape[0]}, 8 + network.layers.size());
    network.layers.push_back(layer);
  };
  const auto plain = [&](Kind kind, const std::string& name) {
    LayerDescription layer;
    layer.kind = kind;
    layer.name = name;
    network.layers.push_back(layer);
  };
  const auto pool = [&](const std::string& name, PoolKind kind, int64_t k_h, int64_t k_w, Window window) {
    plain(Kind::pool, name);
    network.layers.back().pool = kind;
    network.layers.back().k_h = k_h;
    network.layers.back().k_w = k_w;
    network.layers.back().window = window;
  };
  conv("conv1_1", {1, 1, Padding::zero(1)}, {4, 3, 3, 3});
  plain(Kind::relu, "relu1_1");
  pool("pool1", PoolKind::average, 2, 2, {2, 2, {}});
  conv("conv2_1", {2, 1, {Padding::Mode::zero, 0, 1, 2, 1}}, {1, 2, 3, 4});
  plain(Kind::relu, "relu2_1");
  conv("conv2_2", {1, 1, {}}, {5, 1, 1, 1});
  pool("pool2", PoolKind::max, 3, 2, {2, 1, {Padding::Mode::zero, 0, 1, 0, 1}});
  plain(Kind::softmax, "prob");
  return network;
}

/// Chain, windows, weights bit for bit, mean, class names; names the first thing that differs.
inline ::testing::AssertionResult same_network(const layers::NetworkDescription& actual,
                                               const layers::NetworkDescription& expected) {
  using Kind = layers::LayerDescription::Kind;
  if (actual.layers.size() != expected.layers.size()) {
    return ::testing::AssertionFailure() << actual.layers.size() << " layers, expected " << expected.layers.size();
  }
  for (size_t i = 0; i < expected.layers.size(); ++i) {
    const auto &a = actual.layers[i], &b = expected.layers[i];
    const auto differs = [&](const char* what) {
      return ::testing::AssertionFailure()
             << what << " of layer " << i << " ('" << a.name << "', expected '" << b.name << "')";
    };
    if (a.name != b.name || a.kind != b.kind) return differs("name or kind");
    if (b.kind == Kind::relu || b.kind == Kind::softmax) continue;
    if (a.k_h != b.k_h || a.k_w != b.k_w) return differs("kernel");
    if (a.window.stride_h != b.window.stride_h || a.window.stride_w != b.window.stride_w) return differs("stride");
    if (!(a.window.padding == b.window.padding)) return differs("padding");
    if (b.kind == Kind::pool && a.pool != b.pool) return differs("pooling");
    if (b.kind != Kind::conv) continue;
    if (a.in_c != b.in_c || a.out_c != b.out_c) return differs("channels");
    if (static_cast<bool>(a.weight) != static_cast<bool>(b.weight)) return differs("presence of the weight");
    if (b.weight && (!same_bytes(a.weight, b.weight) || !same_bytes(a.bias, b.bias))) return differs("weight or bias");
  }
  if (actual.mean != expected.mean) return ::testing::AssertionFailure() << "the mean differs";
  if (actual.class_names != expected.class_names) return ::testing::AssertionFailure() << "class names differ";
  return ::testing::AssertionSuccess();
}

}  // namespace minidl::test
