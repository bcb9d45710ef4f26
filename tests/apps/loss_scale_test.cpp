// The scale of a loss in fp16, and losses of a normalised network, which are those of the network as it was.
#include <minidl/apps/loss_scale.h>
#include <minidl/core/cuda/backend.h>
#include <minidl/kernels/precision_scope.h>
#include <support/compare.h>
#include <support/device.h>
#include <support/small_fast_style.h>
#include <support/temporary_folder.h>

#include <cmath>
#include <limits>
#include <optional>

namespace minidl::test {
namespace {

layers::Vgg network_on_device(bool is_normalized, const std::vector<Tensor>& pictures,
                              const std::vector<std::string>& taps) {
  layers::Vgg network(small_vgg());
  network.to(device());
  if (is_normalized) {
    network.normalize(pictures, taps);
    for (const std::string& tap : taps) EXPECT_NE(network.feature_scale(tap), 1.0) << tap;
  }
  return network;
}

struct Evaluation {
  GatysLosses losses;
  Tensor gradient;
};

TEST(NormalizedNetwork, GivesTheSameLossesAndGradientOfAPicture) {
  for (const LossForm form : {LossForm::paper, LossForm::mean, LossForm::relative}) {
    for (const bool normalize_gradients : {false, true}) {
      GatysSettings settings = small_settings(form);
      settings.init = GatysInit::style;
      settings.normalize_gradients = normalize_gradients;
      const GatysPictures pictures = small_pictures();
      const auto evaluate = [&](bool is_normalized) {
        layers::Vgg network = network_on_device(is_normalized, {pictures.content}, settings.taps());
        Evaluation result;
        result.losses = Gatys(network, settings, pictures).evaluate_start(&result.gradient);
        result.gradient = result.gradient.to(Device::cpu());
        return result;
      };
      const Evaluation expected = evaluate(false), actual = evaluate(true);
      // In the form relative a term of 1e-12 beside a sum of squares is rounded with it.
      EXPECT_DOUBLE_EQ(actual.losses.total, expected.losses.total);
      EXPECT_EQ(actual.losses.content_layers, expected.losses.content_layers);
      EXPECT_EQ(actual.losses.style_layers, expected.losses.style_layers);
      EXPECT_LE(normalised_error(actual.gradient, expected.gradient), 1e-7);
    }
  }
}

TEST(NormalizedNetwork, GivesTheSameLossesOfATraining) {
  for (const LossForm form : {LossForm::paper, LossForm::mean, LossForm::relative}) {
    FastStyleSettings settings = small_fast_settings();
    settings.form = form;
    settings.input_unit = 2.0;
    const FastStyleData data = small_fast_data();
    const auto evaluate = [&](bool is_normalized) {
      layers::Vgg network = network_on_device(is_normalized, data.styles, settings.taps());
      return FastStyle(network, settings, data).evaluate(wavy_picture(32, 32, 2));
    };
    const FastStyleLosses expected = evaluate(false), actual = evaluate(true);
    EXPECT_FLOAT_EQ(static_cast<float>(actual.total), static_cast<float>(expected.total));
    for (const auto& [layer, value] : expected.content_layers)
      EXPECT_NEAR(actual.content_layers.at(layer), value, 1e-7 * value);
    for (const auto& [layer, value] : expected.style_layers)
      EXPECT_NEAR(actual.style_layers.at(layer), value, 1e-7 * value);
  }
}

class Fp16 : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda::device_count() == 0) GTEST_SKIP() << "fp16 is for CUDA devices";
    scope_.emplace(Precision::fp16);
  }
  TemporaryFolder folder_;

 private:
  std::optional<execution::PrecisionScope> scope_;
};

TEST(LossScale, IsOneWithoutFp16) {
  LossScale scale;
  EXPECT_FALSE(scale.is_missing());
  scale.choose(1e-6f);
  EXPECT_EQ(scale.get(), 1.0f);
  Tensor gradient = Tensor::full({3}, 0.1f, Device::cpu());
  scale.take_out(gradient);
  EXPECT_EQ(gradient.span<float>()[0], 0.1f);
}

TEST_F(Fp16, ScaleIsThePowerOfTwoThatMakesTheGradientLarge) {
  LossScale scale;
  EXPECT_TRUE(scale.is_missing());
  EXPECT_EQ(scale.get(), 1.0f);
  for (const float largest : {1e-20f, 3e-6f, 1.0f, 31.9f, 32.0f, 7e9f}) {
    scale.choose(largest);
    EXPECT_FALSE(scale.is_missing());
    EXPECT_EQ(std::exp2(std::ilogb(scale.get())), scale.get());
    EXPECT_GE(largest * scale.get(), 32.0f);
    EXPECT_LT(largest * scale.get(), 64.0f);
    Tensor gradient = Tensor::full({5}, largest * scale.get(), Device::cpu());
    scale.take_out(gradient);
    EXPECT_EQ(gradient.span<float>()[4], largest) << "exact";
  }
  for (const float nothing : {0.0f, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    scale.choose(nothing);
    EXPECT_EQ(scale.get(), 1.0f);
    EXPECT_TRUE(scale.is_missing()) << "the next gradient may be one";
  }
}

TEST_F(Fp16, ScaleIsKeptWithTheStateOfARun) {
  LossScale scale, loaded;
  SafetensorsContent none, content;
  scale.save(none);
  EXPECT_TRUE(none.tensors.empty());
  scale.choose(1e-4f);
  scale.save(content);
  write_safetensors(folder_ / "state", content);
  loaded.load(SafetensorsReader(folder_ / "state"));
  EXPECT_EQ(loaded.get(), scale.get());
  EXPECT_GT(loaded.get(), 1.0f);
  none.tensors.emplace_back("other", Tensor::zeros({1}));
  write_safetensors(folder_ / "none", none);
  loaded.load(SafetensorsReader(folder_ / "none"));
  EXPECT_TRUE(loaded.is_missing());
  for (const double bad : {0.0, 3.0, -2.0, std::exp2(200.0), std::numeric_limits<double>::quiet_NaN()}) {
    Tensor number = Tensor::zeros({1}, Dtype::f64);
    number.data<double>()[0] = bad;
    content.tensors = {{"loss_scale", number}};
    write_safetensors(folder_ / "bad", content);
    EXPECT_TRUE(throws_error([&] { loaded.load(SafetensorsReader(folder_ / "bad")); }, "its loss scale")) << bad;
  }
}

TEST_F(Fp16, NormalisesForPicturesOfAnySize) {
  const std::vector<std::string> taps = {"relu4_1"};
  layers::Vgg network(small_vgg());
  normalize_for_fp16(network, {wavy_picture(2, 3, 1), wavy_picture(300, 20, 2)}, taps);
  EXPECT_NE(network.feature_scale("relu4_1"), 1.0);
  layers::Vgg plain(small_vgg());
  const execution::PrecisionScope fp32(Precision::fp32);
  normalize_for_fp16(plain, {wavy_picture(32, 32, 1)}, taps);
  EXPECT_EQ(plain.feature_scale("relu4_1"), 1.0);
}

}  // namespace
}  // namespace minidl::test
