#include <minidl/core/error.h>
#include <minidl/layers/codec/mat_writer.h>
#include <minidl/layers/codec/matconvnet.h>
#include <minidl/layers/codec/network_checks.h>

namespace minidl::layers {
namespace {

using detail::MatValue;
using Kind = LayerDescription::Kind;
using Fields = std::vector<std::pair<std::string, MatValue>>;

MatValue numbers(std::initializer_list<int64_t> values) {
  return MatValue::row(std::vector<double>(values.begin(), values.end()));
}

/// [out, kh, kw, in] in memory to [kh, kw, in, out] with the first index fastest, one filter after the other.
MatValue filters_of(const LayerDescription& layer) {
  const int64_t k_h = layer.k_h, k_w = layer.k_w, in_c = layer.in_c;
  return MatValue::singles({k_h, k_w, in_c, layer.out_c}, [=, weight = layer.weight](const MatValue::Sink& sink) {
    std::vector<float> filter(static_cast<size_t>(k_h * k_w * in_c));
    for (int64_t k = 0; k < weight.shape()[0]; ++k) {
      const float* input = std::as_const(weight).data<float>() + k * std::ssize(filter);
      for (int64_t h = 0; h < k_h; ++h) {
        for (int64_t w = 0; w < k_w; ++w) {
          for (int64_t c = 0; c < in_c; ++c) filter[h + k_h * (w + k_w * c)] = *input++;
        }
      }
      sink(filter.data(), 4 * std::ssize(filter));
    }
  });
}

MatValue bias_of(const LayerDescription& layer) {
  return MatValue::singles({layer.out_c, 1},
                           [bias = layer.bias](const MatValue::Sink& sink) { sink(bias.raw(), bias.bytes()); });
}

void append_window(const Window& window, Fields& fields) {
  const Padding& pad = window.padding;
  fields.emplace_back("pad", numbers({pad.top, pad.bottom, pad.left, pad.right}));
  fields.emplace_back("stride", numbers({window.stride_h, window.stride_w}));
}

MatValue layer_of(const LayerDescription& layer) {
  Fields fields = {{"name", MatValue::text(layer.name)}};
  switch (layer.kind) {
    case Kind::conv:
      fields.emplace_back("type", MatValue::text("conv"));
      fields.emplace_back("weights", MatValue::cell({filters_of(layer), bias_of(layer)}));
      fields.emplace_back("size", numbers({layer.k_h, layer.k_w, layer.in_c, layer.out_c}));
      append_window(layer.window, fields);
      fields.emplace_back("precious", MatValue::boolean(false));
      fields.emplace_back("dilate", numbers({1}));
      fields.emplace_back("opts", MatValue::cell({}));
      break;
    case Kind::pool:
      fields.emplace_back("type", MatValue::text("pool"));
      fields.emplace_back("method", MatValue::text(layer.pool == PoolKind::max ? "max" : "avg"));
      fields.emplace_back("pool", numbers({layer.k_h, layer.k_w}));
      append_window(layer.window, fields);
      fields.emplace_back("precious", MatValue::boolean(false));
      fields.emplace_back("opts", MatValue::cell({}));
      break;
    case Kind::relu:
      fields.emplace_back("type", MatValue::text("relu"));
      fields.emplace_back("leak", numbers({0}));
      fields.emplace_back("precious", MatValue::boolean(false));
      break;
    case Kind::softmax:
      fields.emplace_back("type", MatValue::text("softmax"));
      fields.emplace_back("precious", MatValue::boolean(false));
      break;
  }
  return MatValue::structure(fields);
}

MatValue meta_of(const NetworkDescription& network) {
  const auto write_mean = [mean = network.mean](const MatValue::Sink& sink) { sink(mean.data(), sizeof mean); };
  Fields fields = {
      {"normalization", MatValue::structure({{"imageSize", numbers({224, 224, 3})},
                                             {"averageImage", MatValue::singles({1, 1, 3}, write_mean)}})}};
  if (!network.class_names.empty()) {
    std::vector<MatValue> names;
    for (const std::string& name : network.class_names) names.push_back(MatValue::text(name));
    std::vector<std::pair<std::string, MatValue>> classes;
    classes.emplace_back("description", MatValue::cell(std::move(names)));
    fields.emplace_back("classes", MatValue::structure(classes));
  }
  return MatValue::structure(fields);
}

}  // namespace

void write_matconvnet(const std::filesystem::path& path, const NetworkDescription& network) {
  std::vector<MatValue> cells;
  for (const LayerDescription& layer : network.layers) cells.push_back(layer_of(layer));
  detail::write_mat(path, {{"layers", MatValue::cell(std::move(cells))}, {"meta", meta_of(network)}});
}

}  // namespace minidl::layers
