// The losses and gradient of Gatys' objective against reference numbers computed in f64 by another framework from the
// same weight file.
#include <gtest/gtest.h>
#include <minidl/apps/gatys.h>
#include <minidl/core/rng.h>
#include <minidl/core/safetensors.h>
#include <minidl/kernels/execution.h>

#include <cmath>
#include <utility>

#include <support/compare.h>
#include <support/sanitizer.h>
#include <support/test_data.h>

namespace minidl::test {
namespace {

/// An engine and what its grade allows (docs/testing.md): the gradient's arithmetic, and the gradient with ReLU and
/// pooling choices that rounding flips.
struct EngineCase {
  const char* name;
  double losses, arithmetic, gradient;
  Precision precision = Precision::fp32;
};
constexpr EngineCase kEngines[] = {{"direct_bf16", 2e-2, 1e-1, 1e-1, Precision::bf16},
                                   {"winograd_bf16", 2e-2, 1e-1, 1e-1, Precision::bf16},
                                   {"winograd_amx_tf32", 1e-3, 5e-2, 5e-2, Precision::tf32},
                                   {"winograd_amx", 2e-5, 5e-6, 5e-3},
                                   {"winograd", 2e-5, 5e-6, 5e-3},
                                   {"im2col", 1e-5, 2e-6, 5e-3},
                                   {"reference", 1e-5, 2e-6, 5e-3}};
constexpr int kMostNeighbours = 12;

/// x with a third of its values one rounding up and a third one rounding down.
Tensor neighbour(const Tensor& x, uint64_t seed) {
  Tensor result = x.clone();
  Rng rng(seed);
  for (float& value : result.span<float>()) {
    const uint64_t choice = rng.below(3);
    if (choice > 0) value = std::nextafter(value, choice == 1 ? -INFINITY : INFINITY);
  }
  return result;
}

class GatysReference : public testing::TestWithParam<std::tuple<std::string, EngineCase>> {};

TEST_P(GatysReference, LossesAndGradient) {
  const auto& [pooling, engine] = GetParam();
  const auto numbers = test_data("reference/gatys.safetensors"), weights = test_data(kVggFile);
  if (numbers.empty() || weights.empty()) GTEST_SKIP() << kNoTestData;
  if (kUnderSanitizer && engine.name != std::string("winograd"))
    GTEST_SKIP()
        << "60 GFLOP of one engine are enough under a sanitizer, which meets all of them in the tests of kernels";
  const SafetensorsReader reference(numbers);
  GatysSettings settings = GatysSettings::preset("paper");
  settings.size = 0;
  settings.init = GatysInit::picture;
  settings.pooling = pooling == "max" ? PoolKind::max : PoolKind::average;
  layers::Vgg network = layers::Vgg::load(weights, {.taps = settings.taps()});
  execution::set_conv2d_engine(engine.name);
  execution::set_precision(engine.precision);

  const Tensor x = to_channels_last(reference.read("x"));
  GatysPictures pictures{.content = to_channels_last(reference.read("content_image")),
                         .styles = {{to_channels_last(reference.read("style_image"))}},
                         .init = x};
  Tensor gradient;
  const auto evaluate = [&](const Tensor& init) {
    pictures.init = init;
    const GatysLosses losses = Gatys(network, settings, pictures).evaluate_start(&gradient);
    return std::pair(losses, normalised_error(to_channels_first(gradient), reference.read(pooling + ".grad")));
  };
  const auto [losses, error] = evaluate(pictures.init);
  // The reference's values lie within a rounding of some ReLU thresholds: which side an engine takes there depends on
  // the order of its sums. A neighbour of x where none flips shows the arithmetic alone.
  double smallest = error;
  for (int seed = 1; !kUnderSanitizer && seed <= kMostNeighbours && smallest > engine.arithmetic; ++seed)
    smallest = std::min(smallest, evaluate(neighbour(x, seed)).second);
  execution::set_conv2d_engine("");
  execution::set_precision(Precision::fp32);

  const Tensor expected = reference.read(pooling + ".losses");
  const float* value = expected.data<float>();
  EXPECT_NEAR(losses.total / value[0], 1.0, engine.losses);
  EXPECT_NEAR(losses.content_layers.at("relu4_2") / value[1], 1.0, engine.losses);
  const char* layers[] = {"relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"};
  for (int i = 0; i < 5; ++i)
    EXPECT_NEAR(losses.style_layers.at(layers[i]) / value[2 + i], 1.0, engine.losses) << layers[i];
  RecordProperty("gradient_error", std::to_string(error));
  EXPECT_LT(error, engine.gradient);
  EXPECT_LT(smallest, kUnderSanitizer ? engine.gradient : engine.arithmetic);
}

INSTANTIATE_TEST_SUITE_P(PoolingAndEngine, GatysReference,
                         testing::Combine(testing::Values("max", "avg"), testing::ValuesIn(kEngines)),
                         [](const auto& p) { return std::get<0>(p.param) + "_" + std::get<1>(p.param).name; });

}  // namespace
}  // namespace minidl::test
