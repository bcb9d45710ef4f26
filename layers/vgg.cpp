#include <minidl/core/image.h>
#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/precision_scope.h>
#include <minidl/kernels/reduce.h>
#include <minidl/layers/ops.h>
#include <minidl/layers/vgg.h>
#include <minidl/layers/vgg_weights.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

namespace minidl::layers {
namespace {

using Kind = LayerDescription::Kind;

constexpr int64_t kClassifierSide = 224;
constexpr int64_t kLargestSmallestSide = 1 << 14;  // where the search for the smallest picture gives up

int64_t output_extent(int64_t input, int64_t before, int64_t after, int64_t kernel, int64_t stride) {
  const int64_t room = input + before + after - kernel;
  return room < 0 ? 0 : room / stride + 1;
}

/// [n, h, w, c] after one layer; an extent of 0 says that the input was too small.
Shape shape_after(const LayerDescription& layer, const Shape& input) {
  if (layer.kind == Kind::relu || layer.kind == Kind::softmax) return input;
  const Padding& pad = layer.window.padding;
  return {input[0], output_extent(input[1], pad.top, pad.bottom, layer.k_h, layer.window.stride_h),
          output_extent(input[2], pad.left, pad.right, layer.k_w, layer.window.stride_w),
          layer.kind == Kind::conv ? layer.out_c : input[3]};
}

/// Into another tensor: the parameter's own may be shared with the description that it comes from.
void multiply(Variable& parameter, double factor) {
  if (factor == 1.0) return;
  const Tensor& value = parameter.value();
  Tensor result = Tensor::empty(value.shape(), Dtype::f32, value.device());
  affine(static_cast<float>(factor), value, 0.0f, result);
  parameter.mutable_value() = result;
}

}  // namespace

Vgg Vgg::load(const std::filesystem::path& path, const VggOptions& options) {
  return Vgg(read_network(path, options.taps), options);
}

Vgg Vgg::load(const SafetensorsReader& reader, const VggOptions& options) {
  return Vgg(read_network(reader, options.taps), options);
}

Vgg::Vgg(NetworkDescription network, const VggOptions& options) : network_(std::move(network)) {
  MINIDL_CHECK(!network_.layers.empty(), "[vgg] '{}' has no layers", network_.source);
  network_.layers.resize(network_.count_until(options.taps));
  scales_.assign(network_.layers.size(), 1.0);
  for (LayerDescription& layer : network_.layers) {
    weights_.emplace_back();
    biases_.emplace_back();
    projections_.emplace_back();
    if (layer.projection)
      projections_.back() = register_buffer(layer.name + ".projection", std::exchange(layer.projection, {}));
    if (layer.kind != Kind::conv) continue;
    MINIDL_CHECK(layer.weight, "[vgg] layer '{}' of '{}' has no weights", layer.name, network_.source);
    weights_.back() = register_parameter(layer.name + ".weight", std::exchange(layer.weight, {}));
    if (layer.bias) biases_.back() = register_parameter(layer.name + ".bias", std::exchange(layer.bias, {}));
  }
  Tensor offset = Tensor::empty({3});
  std::transform(network_.mean.begin(), network_.mean.end(), offset.data<float>(), std::negate<>());
  negative_mean_ = register_buffer("negative_mean", std::move(offset));
}

void Vgg::normalize(std::span<const Tensor> pictures, std::span<const std::string> taps) {
  const size_t count = network_.count_until(taps);
  std::vector<std::string> convolutions;
  for (size_t i = 0; i < count; ++i) {
    const LayerDescription& layer = network_.layers[i];
    MINIDL_CHECK(layer.kind != Kind::softmax,
                 "[vgg] '{}' of '{}' is a softmax, which keeps no factor: name layers before it", layer.name,
                 network_.source);
    if (layer.kind == Kind::conv) convolutions.push_back(layer.name);
  }
  std::map<std::string, float> largest;
  {
    const execution::PrecisionScope exact(Precision::fp32);
    for (const Tensor& picture : pictures) {
      visit(Variable(picture.to(device())), convolutions, [&](const std::string& name, const Variable& value) {
        const float here = max_abs(value.value());
        MINIDL_CHECK(std::isfinite(here), "[vgg] values of layer '{}' of '{}' for a picture are not finite", name,
                     network_.source);
        largest[name] = std::max(largest[name], here);
      });
    }
  }
  double scale = 1.0, scale_before = 1.0;  // of the previous layer's values: now, and until now
  for (size_t i = 0; i < network_.layers.size(); ++i) {
    const double before = scales_[i];
    if (network_.layers[i].kind == Kind::conv) {
      const float here = i < count ? largest[network_.layers[i].name] : 0.0f;
      double own = i < count ? scale : 1.0;
      if (here > 0) own = before * std::exp2(kNormalized - 1 - std::ilogb(here));
      multiply(weights_[i], own / before * (scale_before / scale));
      if (biases_[i]) multiply(biases_[i], own / before);
      scale = own;
    }
    scale_before = before;
    scales_[i] = scale;
  }
}

double Vgg::feature_scale(const std::string& name) const {
  return scales_[network_.index_of(name)];
}

void Vgg::set_pooling(PoolKind pooling) {
  for (LayerDescription& layer : network_.layers) {
    if (layer.kind == Kind::pool) layer.pool = pooling;
  }
}

std::map<std::string, Variable> Vgg::operator()(const Variable& image, std::initializer_list<std::string> taps) {
  return (*this)(image, std::span<const std::string>(taps.begin(), taps.size()));
}

std::map<std::string, Variable> Vgg::operator()(const Variable& image, std::span<const std::string> taps) {
  std::map<std::string, Variable> values;
  visit(image, taps, [&](const std::string& name, const Variable& value) { values[name] = value; });
  return values;
}

void Vgg::visit(const Variable& image, std::span<const std::string> taps, const Use& use) {
  const std::set<std::string> wanted(taps.begin(), taps.end());
  if (wanted.empty()) return;
  const size_t deepest = network_.count_until(taps) - 1;
  check_size(network_.layers[deepest].name, image.shape());

  const std::set<std::string> again = is_recording({image}) ? recomputed(image.shape(), taps) : std::set<std::string>();
  const bool conv_first = network_.layers.front().kind == Kind::conv;
  Variable x = ops::affine_per_channel(image, 1.0f, negative_mean_.value(), conv_first);
  if (!again.empty()) x.set_recompute(ops::recompute_affine_per_channel(image, 1.0f, negative_mean_.value()));
  for (size_t i = 0; i <= deepest; ++i) {
    const LayerDescription& layer = network_.layers[i];
    const size_t last = network_.fused_until(i, taps);
    switch (layer.kind) {
      case Kind::conv: {
        const Variable input = x;
        const Activation activation = last > i ? Activation::relu : Activation::none;
        x = network_.layers[last].kind == Kind::pool
                ? ops::conv2d_pool2d(input, weights_[i], biases_[i], layer.window, network_.layers[last].pool)
                : ops::conv2d(input, weights_[i], biases_[i], layer.window, activation);
        if (again.contains(network_.layers[last].name))
          x.set_recompute(ops::recompute_conv2d(input, weights_[i], biases_[i], layer.window, activation));
        break;
      }
      case Kind::relu:
        x = ops::relu(x);
        break;
      case Kind::pool:
        x = ops::pool2d(x, layer.pool, layer.k_h, layer.k_w, layer.window);
        break;
      case Kind::softmax:
        x = ops::log_softmax(x);
        break;
    }
    i = last;
    const std::string& name = network_.layers[i].name;
    if (wanted.contains(name)) use(name, seen_at(i, x, again.contains(name)));
    // A convolution leaves what another one takes, and style terms.
    const bool before_conv = i < deepest && network_.layers[i + 1].kind == Kind::conv;
    if (!before_conv) x.value().forget_derived();
  }
}

/// What losses see of the value of layer i.
Variable Vgg::seen_at(size_t i, const Variable& x, bool again) const {
  Variable seen = x;
  if (const Variable& projection = projections_[i]) {
    seen = ops::conv2d(x, projection, Variable(), {});
    if (again) seen.set_recompute(ops::recompute_conv2d(x, projection, Variable(), {}));
  }
  if (keeps_in_bf16() && seen.requires_grad() && !again) seen.set_recompute(ops::keep_in_bf16(seen));
  return seen;
}

int64_t Vgg::loss_channels(const std::string& name) const {
  const size_t index = network_.index_of(name);
  if (network_.layers[index].imitated_c > 0) return network_.layers[index].imitated_c;
  int64_t channels = 3;
  for (size_t i = 0; i <= index; ++i) {
    if (network_.layers[i].kind == Kind::conv) channels = network_.layers[i].out_c;
  }
  return channels;
}

double Vgg::recompute_limit() const {
  return recompute_limit_.value_or(device() == Device::cpu() ? kCheapRecompute : 0.0);
}

bool Vgg::keeps_in_bf16() const {
  return device() == Device::cpu() && execution::precision() == Precision::bf16;
}

std::set<std::string> Vgg::recomputed(const Shape& image, std::span<const std::string> taps) const {
  std::set<std::string> names;
  if (taps.empty() || image[0] != 1) return names;
  const size_t deepest = network_.count_until(taps) - 1;
  const double limit = recompute_limit();
  Shape input = image;
  double input_flops = 0;   // to compute the layer's input anew
  bool input_stays = true;  // anyway, or it is computed anew: the picture and taps
  for (size_t i = 0; i <= deepest; ++i) {
    const LayerDescription& layer = network_.layers[i];
    const LayerDescription& last = network_.layers[network_.fused_until(i, taps)];
    const Shape output = feature_shape(last.name, image);
    const bool is_tap = std::find(taps.begin(), taps.end(), last.name) != taps.end();
    double flops = 0;
    if (is_tap && layer.kind == Kind::conv && last.kind != Kind::pool) {
      const Conv2dDesc desc = Conv2dDesc::make(input, {layer.out_c, layer.k_h, layer.k_w, layer.in_c}, layer.window);
      const int64_t freed = (output.count() - (input_stays ? 0 : input.count())) * static_cast<int64_t>(sizeof(float));
      flops = desc.flops() + input_flops;
      if (has_rows(desc) && flops <= limit * static_cast<double>(freed)) names.insert(last.name);
    }
    input_flops = names.contains(last.name) ? flops : 0;
    input_stays = is_tap;
    input = output;
    i = network_.index_of(last.name);
  }
  return names;
}

Variable Vgg::forward(const Variable& image) {
  const std::string last = network_.layers.back().name;
  return (*this)(image, {last}).at(last);
}

std::vector<std::string> Vgg::layer_names() const {
  std::vector<std::string> names;
  for (const LayerDescription& layer : network_.layers) names.push_back(layer.name);
  return names;
}

bool Vgg::has_layer(const std::string& name) const {
  return std::any_of(network_.layers.begin(), network_.layers.end(),
                     [&](const auto& layer) { return layer.name == name; });
}

Shape Vgg::feature_shape(const std::string& name, const Shape& image) const {
  check_size(name, image);
  Shape shape = image;
  for (size_t i = 0; i <= network_.index_of(name); ++i) shape = shape_after(network_.layers[i], shape);
  return shape;
}

int64_t Vgg::smallest_side(const std::string& name) const {
  const size_t last = network_.index_of(name);
  for (int64_t side = 1; side <= kLargestSmallestSide; ++side) {
    Shape shape{1, side, side, 3};
    for (size_t i = 0; i <= last; ++i) shape = shape_after(network_.layers[i], shape);
    if (shape.count() > 0) return side;
  }
  fail("[vgg] no picture up to {} pixels reaches layer '{}' of '{}'", kLargestSmallestSide, name, network_.source);
}

void Vgg::check_size(const std::string& name, const Shape& image) const {
  MINIDL_CHECK(image.rank() == 4 && image[3] == 3, "[vgg] the picture has shape {}, it must be [n, height, width, 3]",
               image);
  const size_t last = network_.index_of(name);
  Shape shape = image;
  for (size_t i = 0; i <= last; ++i) {
    const LayerDescription& layer = network_.layers[i];
    MINIDL_CHECK(layer.kind != Kind::conv || shape[3] == layer.in_c,
                 "[vgg] layer '{}' of '{}' expects {} channels, it gets {}", layer.name, network_.source, layer.in_c,
                 shape[3]);
    shape = shape_after(layer, shape);
    if (shape.count() > 0) continue;
    fail(
        "[vgg] a picture of {} x {} pixels is too small for layer '{}': nothing is left of it at '{}'; both sides need "
        "at least {} pixels",
        image[2], image[1], name, layer.name, smallest_side(name));
  }
}

std::vector<Vgg::Prediction> Vgg::classify(const Tensor& image, int count) {
  const LayerDescription& last = network_.layers.back();
  MINIDL_CHECK(has_layer("fc8"), "[vgg] '{}' has no fully connected layers (fc6, fc7, fc8): it cannot classify",
               network_.source);
  MINIDL_CHECK(count >= 1, "[vgg] {} classes asked for; at least one", count);
  const Tensor resized = resize_image(image, kClassifierSide, kClassifierSide);
  const Tensor scores = forward(Variable(resized)).value().to(Device::cpu());
  MINIDL_CHECK(scores.shape()[1] == 1 && scores.shape()[2] == 1 && all_finite(scores),
               "[vgg] '{}' gives {} for one picture; a classifier gives [1,1,1,classes] finite values", network_.source,
               scores.shape());
  Tensor log_probability = scores.reshape({1, scores.count()});
  if (last.kind != Kind::softmax) log_probability = ops::log_softmax(Variable(log_probability)).value();

  const std::span<const float> values = std::as_const(log_probability).span<float>();
  std::vector<int64_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  const auto best = static_cast<std::ptrdiff_t>(std::min<size_t>(static_cast<size_t>(count), order.size()));
  std::partial_sort(order.begin(), order.begin() + best, order.end(), [&](int64_t a, int64_t b) {
    const float first = values[static_cast<size_t>(a)], second = values[static_cast<size_t>(b)];
    return first != second ? first > second : a < b;
  });
  std::vector<Prediction> predictions;
  for (std::ptrdiff_t i = 0; i < best; ++i) {
    const auto index = static_cast<size_t>(order[static_cast<size_t>(i)]);
    const bool named = index < network_.class_names.size();
    predictions.push_back(
        {order[static_cast<size_t>(i)], std::exp(values[index]), named ? network_.class_names[index] : ""});
  }
  return predictions;
}

}  // namespace minidl::layers
