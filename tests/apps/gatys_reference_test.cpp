// The losses and gradient of Gatys' objective against reference numbers computed in f64 by another framework from the
// same weight file.
#include <gtest/gtest.h>
#include <minidl/apps/gatys.h>
#include <minidl/core/safetensors.h>
#include <minidl/kernels/execution.h>

#include <sstream>

#include <support/compare.h>
#include <support/test_data.h>

namespace minidl::test {
namespace {

class GatysReference : public testing::TestWithParam<std::tuple<std::string, std::string>> {};

TEST_P(GatysReference, LossesAndGradient) {
  const auto& [pooling, engine] = GetParam();
  const auto numbers = test_data("reference/gatys.safetensors"), weights = test_data(kVggFile);
  if (numbers.empty() || weights.empty()) GTEST_SKIP() << kNoTestData;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  if (engine == "reference") GTEST_SKIP() << "60 GFLOP of plain loops take too long under a sanitizer";
#endif
  const SafetensorsReader reference(numbers);
  GatysSettings settings = GatysSettings::preset("paper");
  settings.size = 0;
  settings.init = GatysInit::picture;
  settings.pooling = pooling == "max" ? PoolKind::max : PoolKind::average;
  layers::Vgg network = layers::Vgg::load(weights, {.taps = settings.taps()});
  execution::set_conv2d_engine(engine);

  Gatys gatys(network, settings,
              {.content = to_channels_last(reference.read("content_image")),
               .styles = {{to_channels_last(reference.read("style_image"))}},
               .init = to_channels_last(reference.read("x"))});
  Tensor gradient;
  const GatysLosses losses = gatys.evaluate_start(&gradient);
  execution::set_conv2d_engine("");

  const Tensor expected = reference.read(pooling + ".losses");
  const float* value = expected.data<float>();
  EXPECT_NEAR(losses.total / value[0], 1.0, 1e-5);
  EXPECT_NEAR(losses.content_layers.at("relu4_2") / value[1], 1.0, 1e-5);
  const char* layers[] = {"relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"};
  for (int i = 0; i < 5; ++i) EXPECT_NEAR(losses.style_layers.at(layers[i]) / value[2 + i], 1.0, 1e-5) << layers[i];
  const double error = normalised_error(to_channels_first(gradient), reference.read(pooling + ".grad"));
  RecordProperty("gradient_error", std::to_string(error));
  EXPECT_LT(error, 5e-4);
}

INSTANTIATE_TEST_SUITE_P(PoolingAndEngine, GatysReference,
                         testing::Combine(testing::Values("max", "avg"), testing::Values("im2col", "reference")),
                         [](const auto& p) { return std::get<0>(p.param) + "_" + std::get<1>(p.param); });

}  // namespace
}  // namespace minidl::test
