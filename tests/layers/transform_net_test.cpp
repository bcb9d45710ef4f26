#include <minidl/layers/init.h>
#include <minidl/layers/ops.h>
#include <minidl/layers/transform_net.h>
#include <support/gradcheck.h>
#include <support/sanitizer.h>
#include <support/threads.h>

#include <algorithm>

namespace minidl::layers {
namespace {

using test::inner_product;
using test::normalised_error;
using test::random_integers;
using test::random_uniform;
using test::same_bytes;
using test::throws_error;

Tensor picture(int64_t n, int64_t h, int64_t w, uint64_t seed = 1) {
  return random_uniform({n, h, w, 3}, seed, 0.0f, 255.0f);
}

/// Every combination of the kinds, small.
std::vector<TransformNetOptions> all_kinds() {
  std::vector<TransformNetOptions> kinds;
  for (const UpsampleKind upsample : {UpsampleKind::nearest, UpsampleKind::fractional}) {
    for (const Padding::Mode padding : {Padding::Mode::reflect, Padding::Mode::zero, Padding::Mode::replicate}) {
      for (const NormKind norm : {NormKind::instance, NormKind::batch}) {
        for (const OutputRange range : {OutputRange::linear, OutputRange::tanh}) {
          kinds.push_back({.width = 8,
                           .residual_blocks = 1,
                           .upsample = upsample,
                           .padding = padding,
                           .norm = norm,
                           .output_range = range});
        }
      }
    }
  }
  return kinds;
}

/// Norms that do something other than nothing: weights around 1, biases around 0.
void randomise_norms(TransformNet& net) {
  uint64_t number = 100;
  for (auto& [name, parameter] : net.named_parameters()) {
    if (name.find("in") == std::string::npos || name.find("conv2d") != std::string::npos) continue;
    const float centre = name.ends_with(".weight") ? 1.0f : 0.0f;
    parameter.mutable_value().copy_from(random_uniform(parameter.shape(), ++number, centre - 0.4f, centre + 0.4f));
  }
}

std::string describe(const TransformNetOptions& options) {
  std::string text = options.upsample == UpsampleKind::nearest ? "nearest" : "fractional";
  text += options.padding == Padding::Mode::zero      ? " zero"
          : options.padding == Padding::Mode::reflect ? " reflect"
                                                      : " replicate";
  text += options.norm == NormKind::batch ? " batch" : " instance";
  return text + (options.output_range == OutputRange::tanh ? " tanh" : " linear");
}

/// The net written down once more, from simple operations: padding, upsampling and zeros between pixels as tensors of
/// their own, everything computed at full size and the output cut at the end.
class PlainNet {
 public:
  explicit PlainNet(const TransformNet& net) : options_(net.options()) {
    for (const auto& [name, parameter] : net.named_parameters()) values_[name] = parameter.value();
  }

  Tensor operator()(const Tensor& picture) const {
    Tensor x = norm("in1", conv("conv1", picture, 1), true);
    x = norm("in2", conv("conv2", x, 2), true);
    x = norm("in3", conv("conv3", x, 2), true);
    for (int64_t block = 1; block <= options_.residual_blocks; ++block) {
      const std::string name = "res" + std::to_string(block) + ".";
      const Tensor hidden = norm(name + "in1", conv(name + "conv1", x, 1), true);
      x = ops::add(Variable(x), Variable(norm(name + "in2", conv(name + "conv2", hidden, 1), false))).value();
    }
    x = norm("in4", up("deconv1", x), true);
    x = norm("in5", up("deconv2", x), true);
    x = conv("deconv3", x, 1);
    Tensor output = Tensor::empty(picture.shape());
    const float mean[] = {123.68f, 116.779f, 103.939f};
    for (int64_t row = 0; row < output.shape()[0] * output.shape()[1]; ++row) {
      const int64_t n = row / output.shape()[1], h = row % output.shape()[1];
      for (int64_t i = 0; i < output.shape()[2] * 3; ++i) {
        const float value = at(x)[(n * x.shape()[1] + h) * x.shape()[2] * 3 + i];
        output.data<float>()[row * output.shape()[2] * 3 + i] =
            options_.output_range == OutputRange::linear ? value : mean[i % 3] + 150.0f * std::tanh(value);
      }
    }
    return output;
  }

 private:
  static const float* at(const Tensor& x) { return x.data<float>(); }
  Variable parameter(const std::string& name) const { return Variable(values_.at(name)); }

  Tensor conv(const std::string& name, const Tensor& x, int64_t stride) const {
    const Variable weight = parameter(name + ".conv2d.weight");
    const int64_t pad = weight.shape()[1] / 2;
    const Variable padded = ops::pad(Variable(x), {options_.padding, pad, pad, pad, pad});
    return ops::conv2d(padded, weight, parameter(name + ".conv2d.bias"), {stride, stride, {}}).value();
  }

  Tensor norm(const std::string& name, const Tensor& x, bool relu) const {
    const Activation activation = relu ? Activation::relu : Activation::none;
    const Variable weight = parameter(name + ".weight"), bias = parameter(name + ".bias");
    if (options_.norm == NormKind::instance) {
      return ops::instance_norm(Variable(x), weight, bias, 1e-5f, activation).value();
    }
    ops::BatchNormState state{Tensor::zeros(weight.shape()), Tensor::full(weight.shape(), 1.0f)};
    return ops::batch_norm(Variable(x), weight, bias, state, 1e-5f, activation).value();
  }

  Tensor up(const std::string& name, const Tensor& x) const {
    if (options_.upsample == UpsampleKind::nearest) {
      return conv(name, ops::upsample_nearest(Variable(x), 2).value(), 1);
    }
    // Zeros between the pixels, then a convolution with the filters turned: output 2 i + r - 1 gets weight r of pixel
    // i.
    const Shape& shape = x.shape();
    Tensor spread = Tensor::zeros({shape[0], 2 * shape[1] + 1, 2 * shape[2] + 1, shape[3]});
    for (int64_t i = 0; i < x.count(); ++i) {
      const int64_t c = i % shape[3], w = i / shape[3] % shape[2], row = i / shape[3] / shape[2];
      const int64_t spread_row = row / shape[1] * (2 * shape[1] + 1) + 2 * (row % shape[1]);
      spread.data<float>()[(spread_row * (2 * shape[2] + 1) + 2 * w) * shape[3] + c] = at(x)[i];
    }
    const Tensor& weight = values_.at(name + ".conv2d.weight");  // [in, 3, 3, out]
    const int64_t in = weight.shape()[0], out = weight.shape()[3];
    Tensor turned = Tensor::empty({out, 3, 3, in});
    for (int64_t i = 0; i < turned.count(); ++i) {
      const int64_t c = i % in, tap = i / in % 9, k = i / in / 9;
      turned.data<float>()[i] = at(weight)[(c * 9 + 8 - tap) * out + k];
    }
    const Window window{1, 1, {Padding::Mode::zero, 1, 0, 1, 0}};
    return ops::conv2d(Variable(spread), Variable(turned), parameter(name + ".conv2d.bias"), window).value();
  }

  TransformNetOptions options_;
  std::map<std::string, Tensor> values_;
};

TEST(TransformNet, IsTheNetOfTheTableForEverySize) {
  const std::pair<int64_t, int64_t> sizes[] = {{1, 1}, {2, 3}, {5, 7}, {17, 30}, {8, 12}};
  for (const TransformNetOptions& options : all_kinds()) {
    seed(3);
    TransformNet net(options);
    randomise_norms(net);
    const PlainNet plain(net);
    for (const auto& [h, w] : sizes) {
      const Tensor input = picture(2, h, w), output = net(Variable(input)).value();
      ASSERT_EQ(output.shape(), input.shape());
      // From a single pixel in the middle, upsampling makes a map whose pixels differ by their rounding alone, which
      // the normalisation multiplies by 1 / sqrt(eps).
      const double bound = h <= 4 && w <= 4 ? 5e-2 : 2e-4;
      EXPECT_LE(normalised_error(output, plain(input)), bound) << describe(options) << " at " << h << " x " << w;
    }
  }
}

TEST(TransformNet, ParametersAreCalledAsInPytorchsExample) {
  TransformNet net({.width = 8, .residual_blocks = 1});
  std::vector<std::string> names;
  for (const auto& [name, parameter] : net.named_parameters()) {
    if (name.ends_with("weight")) names.push_back(name);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"conv1.conv2d.weight", "in1.weight", "conv2.conv2d.weight", "in2.weight",
                                             "conv3.conv2d.weight", "in3.weight", "res1.conv1.conv2d.weight",
                                             "res1.in1.weight", "res1.conv2.conv2d.weight", "res1.in2.weight",
                                             "deconv1.conv2d.weight", "in4.weight", "deconv2.conv2d.weight",
                                             "in5.weight", "deconv3.conv2d.weight"}));
  EXPECT_EQ(TransformNet().parameter_count(), 1679235) << "the published net's number";
}

/// d loss / dt of parameter + t * direction.
double slope(const std::function<double()>& loss, Tensor& parameter, const Tensor& direction, float step) {
  const Tensor original = parameter.clone();
  const auto at = [&](float t) {
    for (int64_t i = 0; i < parameter.count(); ++i) {
      parameter.data<float>()[i] =
          std::as_const(original).data<float>()[i] + t * std::as_const(direction).data<float>()[i];
    }
    return loss();
  };
  const double result = (at(step) - at(-step)) / (2.0 * step);
  parameter.copy_from(original);
  return result;
}

/// The gradient of every parameter and of the picture, against differences along the gradient itself and along a random
/// direction.
void check_gradients(TransformNet& net, const Tensor& input) {
  std::vector<std::pair<std::string, Variable>> variables = net.named_parameters();
  const Variable image(input, true);
  variables.emplace_back("picture", image);
  const Tensor coefficients = random_uniform(input.shape(), 5);
  const auto loss = [&] { return inner_product(net(image).value(), coefficients); };
  {
    Tape tape;
    const TapeScope recording(tape);
    tape.backward(test::weighted_sum(net(image), coefficients));
  }
  double largest = 0.0;
  for (const auto& [name, variable] : variables) {
    ASSERT_TRUE(variable.grad()) << name;
    largest = std::max(largest, std::sqrt(inner_product(variable.grad(), variable.grad())));
  }
  uint64_t number = 10;
  for (auto& [name, variable] : variables) {
    const Tensor gradient = variable.grad().clone();
    const double norm = std::sqrt(inner_product(gradient, gradient));
    const double size = std::sqrt(inner_product(variable.value(), variable.value())) + 0.1;
    for (Tensor direction : {gradient.clone(), random_uniform(gradient.shape(), ++number)}) {
      const double length = std::sqrt(inner_product(direction, direction));
      if (length == 0.0) continue;
      for (float& value : direction.span<float>()) value = static_cast<float>(value / length);
      const double found = slope(loss, variable.mutable_value(), direction, static_cast<float>(2e-4 * size));
      EXPECT_NEAR(inner_product(gradient, direction), found, 0.03 * norm + 1e-3 * largest) << name;
    }
  }
}

/// Under a sanitizer of some kinds, among which each choice is made each way.
TEST(TransformNet, GradientsAreThoseOfDifferences) {
  const std::vector<TransformNetOptions> kinds = all_kinds();
  for (size_t i = 0; i < kinds.size(); i += test::kUnderSanitizer ? 5 : 1) {
    const TransformNetOptions& options = kinds[i];
    SCOPED_TRACE(describe(options));
    seed(3);
    TransformNet net(options);
    randomise_norms(net);
    check_gradients(net, picture(2, 18, 13));
  }
}

TEST(TransformNet, StylesHaveTheirOwnNorms) {
  seed(3);
  const TransformNetOptions options{.width = 8, .residual_blocks = 1, .styles = 3};
  TransformNet net(options);
  randomise_norms(net);
  const Tensor input = picture(2, 9, 7);

  const auto single = [&](const std::vector<float>& shares) {
    TransformNet alone({.width = 8, .residual_blocks = 1});
    SafetensorsContent state = net.state();
    for (auto& [name, tensor] : state.tensors) {
      if (tensor.shape().rank() != 2) continue;
      Tensor mixed = Tensor::zeros({tensor.shape()[1]});
      for (int64_t i = 0; i < tensor.count(); ++i) {
        mixed.data<float>()[i % mixed.count()] +=
            shares[static_cast<size_t>(i / mixed.count())] * std::as_const(tensor).data<float>()[i];
      }
      tensor = mixed;
    }
    alone.load_state(state);
    return alone(Variable(input)).value();
  };
  EXPECT_TRUE(same_bytes(net(Variable(input)).value(), single({1, 0, 0})));
  net.select_style(2);
  EXPECT_TRUE(same_bytes(net(Variable(input)).value(), single({0, 0, 1})));
  const std::vector<float> mix = {0.5f, 0.25f, -0.25f};
  net.select_style(mix);
  EXPECT_LE(normalised_error(net(Variable(input)).value(), single(mix)), 1e-5);

  const std::vector<float> shares = {0, 1, 0, 0.5f, 0, 0.5f};
  net.select_styles(Tensor::from(shares, {2, 3}));
  const Tensor output = net(Variable(input)).value();
  EXPECT_LE(normalised_error(output.slice(0, 1), single({0, 1, 0}).slice(0, 1)), 1e-5);
  EXPECT_LE(normalised_error(output.slice(1, 2), single({0.5f, 0, 0.5f}).slice(1, 2)), 1e-5);
  check_gradients(net, input);
}

TEST(TransformNet, BatchNormUsesItsRunningStatisticsInEvaluation) {
  TransformNet net({.width = 8, .residual_blocks = 0, .norm = NormKind::batch});
  const Tensor input = picture(2, 8, 8);
  for (int i = 0; i < 3; ++i) net(Variable(input));
  net.train(false);
  const Tensor both = net(Variable(input)).value();
  EXPECT_LE(normalised_error(net(Variable(input.slice(0, 1))).value(), both.slice(0, 1)), 1e-5);
}

TEST(TransformNet, TheBytesDoNotDependOnThreads) {
  seed(3);
  TransformNet net({.width = 16, .residual_blocks = 1});
  const Variable input(picture(1, 37, 61));
  EXPECT_TRUE(test::same_for_all_threads([&] { return net(input).value(); }));
}

TEST(TransformNet, RefusesWhatItIsNotMadeFor) {
  EXPECT_TRUE(throws_error([] { TransformNet({.width = 7}); }, "width is 7, it must be 8 to 64"));
  EXPECT_TRUE(
      throws_error([] { TransformNet({.residual_blocks = -1}); }, "residual_blocks is -1, it must be 0 to 100"));
  EXPECT_TRUE(throws_error([] { TransformNet({.styles = 0}); }, "styles is 0, it must be 1 to 10000"));
  EXPECT_TRUE(throws_error([] { TransformNet({.norm = NormKind::batch, .styles = 2}); },
                           "2 styles need instance normalisation"));
  TransformNet net({.width = 8, .residual_blocks = 0, .styles = 2});
  EXPECT_TRUE(throws_error([&] { net(Variable(Tensor::zeros({1, 4, 4, 1}))); }, "input [1,4,4,1] must be pictures"));
  EXPECT_TRUE(throws_error([&] { net(Variable(Tensor::zeros({1, 0, 4, 3}))); }, "at least one pixel"));
  EXPECT_TRUE(throws_error([&] { net.select_style(2); }, "there is no style 2, the last one is 1"));
  EXPECT_TRUE(throws_error([&] { net.select_style(std::vector<float>{1.0f}); }, "1 shares are given for 2 styles"));
  EXPECT_TRUE(throws_error([&] { net.select_styles(Tensor::zeros({3})); }, "shares [3] must be [n,2] for 2 styles"));
  net.select_styles(Tensor::zeros({3, 2}));
  EXPECT_TRUE(throws_error([&] { net(Variable(Tensor::zeros({1, 4, 4, 3}))); }, "styles were selected for 3"));
}

}  // namespace
}  // namespace minidl::layers
