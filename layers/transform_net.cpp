#include <minidl/layers/init.h>
#include <minidl/layers/ops.h>
#include <minidl/layers/transform_net.h>
#include <minidl/layers/transform_net_weights.h>

namespace minidl::layers {
namespace {

constexpr float kTanhScale = 150.0f;
constexpr float kMeanColour[] = {123.68f, 116.779f, 103.939f};

void check(const TransformNetOptions& options) {
  MINIDL_CHECK(options.width >= 8 && options.width <= 64, "[transform_net] width is {}, it must be 8 to 64",
               options.width);
  MINIDL_CHECK(options.residual_blocks >= 0 && options.residual_blocks <= 100,
               "[transform_net] residual_blocks is {}, it must be 0 to 100", options.residual_blocks);
  MINIDL_CHECK(options.styles >= 1 && options.styles <= 10000, "[transform_net] styles is {}, it must be 1 to 10000",
               options.styles);
  MINIDL_CHECK(options.styles == 1 || options.norm == NormKind::instance,
               "[transform_net] {} styles need instance normalisation, not batch normalisation", options.styles);
}

}  // namespace

TransformNet::TransformNet(const TransformNetOptions& options) : TransformNet(options, Initial::random) {}

TransformNet::TransformNet(const TransformNetOptions& options, Initial initial) : options_(options) {
  check(options);
  const int64_t w = options.width;
  const auto stage = [&](const std::string& conv, const std::string& norm, const Shape& weight, int64_t stride) {
    Stage made{make_conv(conv, weight, stride, initial), {}};
    made.norm = make_norm(norm, weight[0]);
    return made;
  };
  down_.push_back(stage("conv1", "in1", {w, 9, 9, 3}, 1));
  down_.push_back(stage("conv2", "in2", {2 * w, 3, 3, w}, 2));
  down_.push_back(stage("conv3", "in3", {4 * w, 3, 3, 2 * w}, 2));
  for (int64_t block = 1; block <= options.residual_blocks; ++block) {
    const std::string name = "res" + std::to_string(block) + ".";
    residual_.push_back(stage(name + "conv1", name + "in1", {4 * w, 3, 3, 4 * w}, 1));
    residual_.push_back(stage(name + "conv2", name + "in2", {4 * w, 3, 3, 4 * w}, 1));
  }
  for (int64_t i = 0; i < 2; ++i) {
    const int64_t in = 4 * w >> i, out = in / 2;
    const bool fractional = options.upsample == UpsampleKind::fractional;
    const Shape weight = fractional ? Shape{in, 3, 3, out} : Shape{out, 3, 3, in};
    Stage made{make_conv("deconv" + std::to_string(i + 1), weight, fractional ? 2 : 1, initial), {}};
    made.norm = make_norm("in" + std::to_string(i + 4), out);
    up_.push_back(made);
  }
  last_ = make_conv("deconv3", {3, 9, 9, w}, 1, initial);
  if (options.styles > 1) select_style(0);
}

TransformNet::Conv TransformNet::make_conv(const std::string& name, Shape weight, int64_t stride, Initial initial) {
  const bool fractional = name.starts_with("deconv") && stride == 2;
  const int64_t pad = weight[1] / 2, out = fractional ? weight[3] : weight[0];
  Conv conv;
  conv.window = {stride, stride, {fractional ? Padding::Mode::zero : options_.padding, pad, pad, pad, pad}};
  Tensor filters, bias;
  if (initial == Initial::random) {
    Rng rng = next_rng();
    filters = default_weight(weight, rng);
    // Of stride 1/2, as PyTorch does it: the bound is that of the filters seen from the other side.
    bias = default_bias(fractional ? Shape{out, 3, 3, out} : weight, rng);
  } else {
    filters = Tensor::zeros(weight), bias = Tensor::zeros({out});
  }
  conv.weight = register_parameter(name + ".conv2d.weight", std::move(filters));
  conv.bias = register_parameter(name + ".conv2d.bias", std::move(bias));
  return conv;
}

TransformNet::Norm TransformNet::make_norm(const std::string& name, int64_t channels) {
  const Shape shape = options_.styles > 1 ? Shape{options_.styles, channels} : Shape{channels};
  Norm norm;
  norm.weight = register_parameter(name + ".weight", Tensor::full(shape, 1.0f));
  norm.bias = register_parameter(name + ".bias", Tensor::zeros(shape));
  if (options_.norm == NormKind::batch) {
    norm.running_mean = register_buffer(name + ".running_mean", Tensor::zeros(shape));
    norm.running_variance = register_buffer(name + ".running_var", Tensor::full(shape, 1.0f));
  }
  return norm;
}

TransformNet TransformNet::load(const std::filesystem::path& path) {
  return read_transform_net(path);
}

TransformNet TransformNet::load(const SafetensorsReader& reader) {
  return read_transform_net(reader);
}

void TransformNet::save(const std::filesystem::path& path, const std::map<std::string, std::string>& metadata,
                        Dtype storage) const {
  write_transform_net(path, *this, metadata, storage);
}

void TransformNet::select_style(int64_t style) {
  MINIDL_CHECK(style >= 0 && style < options_.styles, "[transform_net] there is no style {}, the last one is {}", style,
               options_.styles - 1);
  std::vector<float> shares(static_cast<size_t>(options_.styles));
  shares[static_cast<size_t>(style)] = 1.0f;
  select_style(shares);
}

void TransformNet::select_style(std::span<const float> shares) {
  MINIDL_CHECK(std::ssize(shares) == options_.styles, "[transform_net] {} shares are given for {} styles",
               shares.size(), options_.styles);
  if (options_.styles > 1) shares_ = Tensor::from(shares, {options_.styles});
}

void TransformNet::select_styles(const Tensor& shares) {
  MINIDL_CHECK(shares && shares.shape().rank() == 2 && shares.shape()[1] == options_.styles,
               "[transform_net] shares {} must be [n,{}] for {} styles", shares ? shares.shape() : Shape(),
               options_.styles, options_.styles);
  if (options_.styles > 1) shares_ = shares.clone();
}

Variable TransformNet::of_style(const Variable& parameter) const {
  return shares_ ? ops::mix_rows(parameter, shares_.to(parameter.value().device())) : parameter;
}

Variable TransformNet::normalized(Variable input, const Norm& norm, Activation activation, const Variable& residual,
                                  bool for_convolution) {
  if (options_.norm == NormKind::batch) {
    ops::BatchNormState state{.running_mean = norm.running_mean.value(),
                              .running_variance = norm.running_variance.value(),
                              .training = training()};
    Variable output = ops::batch_norm(std::move(input), norm.weight, norm.bias, state, kNormEps, activation);
    return residual ? ops::add(residual, std::move(output)) : output;
  }
  return ops::instance_norm(std::move(input), of_style(norm.weight), of_style(norm.bias), kNormEps, activation,
                            residual, for_convolution);
}

Variable TransformNet::upsampled(const Variable& input, const Conv& conv) const {
  if (options_.upsample == UpsampleKind::nearest) {
    return ops::upsample_conv2d(input, conv.weight, conv.bias, options_.padding);
  }
  return ops::conv2d_transpose(input, conv.weight, conv.bias, conv.window, 2 * input.shape()[1], 2 * input.shape()[2]);
}

Variable TransformNet::colours(const Variable& values) const {
  if (options_.output_range == OutputRange::linear) return values;
  const Tensor mean = Tensor::from(kMeanColour, {3}).to(values.value().device());
  return ops::affine_per_channel(ops::tanh(values, kTanhScale), 1.0f, mean);
}

void TransformNet::check_pictures(const Shape& shape) const {
  MINIDL_CHECK(shape.rank() == 4 && shape[3] == 3 && shape.count() > 0,
               "[transform_net] input {} must be pictures [n,h,w,3] with at least one pixel", shape);
  MINIDL_CHECK(!shares_ || shares_.shape().rank() == 1 || shares_.shape()[0] == shape[0],
               "[transform_net] input {} has {} pictures, but styles were selected for {}", shape, shape[0],
               shares_ ? shares_.shape()[0] : 0);
}

int64_t TransformNet::bytes_in_one_pass(int64_t height, int64_t width) const {
  const int64_t h4 = (height + 3) / 4, w4 = (width + 3) / 4, w = options_.width;
  // The largest map, and that of half its size which it is made from.
  return (16 * h4 * w4 * w + 4 * h4 * w4 * 2 * w) * static_cast<int64_t>(sizeof(float));
}

Variable TransformNet::forward(const Variable& input) {
  const Shape shape = input.shape();
  check_pictures(shape);
  Variable x = input;
  // A convolution of stride 1/2 is not one of those that read 16 bits, and what goes into a block is added, too.
  const bool upsamples = options_.upsample == UpsampleKind::nearest;
  for (size_t i = 0; i < down_.size(); ++i) {
    const auto& [conv, norm] = down_[i];
    x = ops::conv2d(x, conv.weight, conv.bias, conv.window);
    x = normalized(std::move(x), norm, Activation::relu, {}, i + 1 < down_.size());
  }
  for (size_t i = 0; i < residual_.size(); i += 2) {
    const auto& [conv1, norm1] = residual_[i];
    const auto& [conv2, norm2] = residual_[i + 1];
    Variable y = ops::conv2d(x, conv1.weight, conv1.bias, conv1.window);
    y = normalized(std::move(y), norm1, Activation::relu, {}, true);
    y = ops::conv2d(y, conv2.weight, conv2.bias, conv2.window);
    x = normalized(std::move(y), norm2, Activation::none, x, upsamples && i + 2 == residual_.size());
  }
  for (size_t i = 0; i < up_.size(); ++i) {
    x = upsampled(x, up_[i].conv);
    x = normalized(std::move(x), up_[i].norm, Activation::relu, {}, upsamples || i + 1 == up_.size());
  }
  // Rows and columns beyond the input's size are read as the rest of the map, but not written.
  Window window = last_.window;
  window.padding.bottom -= x.shape()[1] - shape[1];
  window.padding.right -= x.shape()[2] - shape[2];
  return colours(ops::conv2d(x, last_.weight, last_.bias, window));
}

}  // namespace minidl::layers
