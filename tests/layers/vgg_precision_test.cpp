// What rounding does to each layer of the real network: every engine against sums in f64, on the features and weights
// for which its grade is promised.
#include <gtest/gtest.h>
#include <minidl/core/image.h>
#include <minidl/kernels/cpu/amx_product.h>
#include <minidl/kernels/execution.h>
#include <minidl/kernels/reduce.h>
#include <minidl/layers/vgg.h>
#include <support/compare.h>
#include <support/sanitizer.h>
#include <support/test_data.h>

#include <utility>

namespace minidl::test {
namespace {

constexpr const char* kDeepest = "relu5_1";

struct Settings {
  Settings(const char* engine, Precision precision) {
    execution::set_conv2d_engine(engine);
    execution::set_precision(precision);
  }
  ~Settings() {
    execution::set_conv2d_engine("");
    execution::set_precision(Precision::fp32);
  }
};

/// A convolution of the network, what comes into it, and both directions in f64.
struct Layer {
  std::string name;
  Conv2dDesc desc;
  Tensor input, weight, grad_output, output, grad_input;
};

void run(const Conv2dDesc& desc, const Layer& layer, Tensor& output, Tensor& grad_input) {
  output = Tensor::empty(desc.output_shape());
  grad_input = Tensor::empty(desc.input_shape());
  conv2d_forward(desc, layer.input, layer.weight, {}, Activation::none, output);
  conv2d_backward_data(desc, layer.weight, layer.grad_output, {}, grad_input);
}

/// Features less their mean stand for a gradient: of any sign, alike in neighbouring pixels.
Tensor like_a_gradient(const Tensor& features) {
  Tensor result = features.clone();
  const float mean = static_cast<float>(sum(features) / static_cast<double>(features.count()));
  for (float& value : result.span<float>()) value -= mean;
  return result;
}

std::vector<Layer> layers_of_the_network() {
  layers::Vgg network = layers::Vgg::load(test_data(kVggFile), {.taps = {kDeepest}});
  const Variable image(load_image(test_data("data/content/tubingen.jpg"), {.max_side = 96}));
  const std::vector<layers::LayerDescription>& chain = network.description().layers;
  const auto named = network.named_parameters();
  const std::map<std::string, Variable> parameters(named.begin(), named.end());
  std::vector<Layer> result;
  const Settings settings("reference", Precision::fp32);
  for (size_t i = 1; i < chain.size(); ++i) {
    if (chain[i].kind != layers::LayerDescription::Kind::conv) continue;
    const auto features = network(image, {chain[i - 1].name, chain[i].name});
    Layer layer{.name = chain[i].name,
                .desc = {},
                .input = features.at(chain[i - 1].name).value(),
                .weight = parameters.at(chain[i].name + ".weight").value(),
                .grad_output = like_a_gradient(features.at(chain[i].name).value()),
                .output = {},
                .grad_input = {}};
    layer.desc = Conv2dDesc::make(layer.input.shape(), layer.weight.shape(), chain[i].window);
    run(layer.desc, layer, layer.output, layer.grad_input);
    result.push_back(std::move(layer));
  }
  return result;
}

/// Promised by the engine that computes it: another one where the named one declines.
double error_of(const Layer& layer, Conv2dDirection direction) {
  return conv2d_engine_for({layer.desc, direction}, Device::cpu()).error;
}

TEST(VggPrecision, EveryEngineKeepsItsGradeInEveryLayer) {
  if (test_data(kVggFile).empty()) GTEST_SKIP() << kNoTestData;
  if (test::kUnderSanitizer) GTEST_SKIP() << "plain loops over the network take too long under a sanitizer";
  const std::vector<Layer> layers = layers_of_the_network();
  EXPECT_EQ(layers.size(), 12u);
  for (const Conv2dEngine* engine : conv2d_engines()) {
    if (engine->device != Device::Kind::cpu) continue;
    if (std::string(engine->name).starts_with("winograd_amx") && !cpu::amx_available()) continue;  // slow without
    const Settings settings(engine->name, engine->grade);
    double worst = 0.0;
    for (const Layer& layer : layers) {
      Tensor output, grad_input;
      run(layer.desc, layer, output, grad_input);
      const double forward = normalised_error(output, layer.output),
                   backward = normalised_error(grad_input, layer.grad_input);
      EXPECT_LE(forward, error_of(layer, Conv2dDirection::forward)) << engine->name << ", " << layer.name;
      EXPECT_LE(backward, error_of(layer, Conv2dDirection::backward_data)) << engine->name << ", " << layer.name;
      worst = std::max({worst, forward, backward});
    }
    RecordProperty(engine->name, std::to_string(worst * 1e6) + "e-6");
  }
}

}  // namespace
}  // namespace minidl::test
