// Whole runs in fp16 against the same in fp32 on the same device: whatever losses weigh, however large features are.
// Skipped on the CPU, which has no fp16.
#include <minidl/apps/fast_style.h>
#include <minidl/apps/gatys.h>
#include <minidl/apps/stylizer.h>
#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/precision_scope.h>
#include <minidl/kernels/reduce.h>
#include <support/compare.h>
#include <support/device.h>
#include <support/sanitizer.h>
#include <support/small_fast_style.h>
#include <support/small_transform_net.h>
#include <support/temporary_folder.h>

namespace minidl::test {
namespace {

/// With channels in eights, as tensor cores take them without padding.
layers::NetworkDescription network_of_eights(float factor = 1.0f) {
  layers::NetworkDescription network = tiny_vgg({2, 2}, 8);
  for (float& value : network.layers.front().weight.span<float>()) value *= factor;
  return network;
}

GatysSettings settings_of_eights(LossForm form, double weights) {
  GatysSettings settings = small_settings(form);
  settings.content_layers = {{"relu2_2", 1.0}};
  settings.style_layers = {{"relu1_1", 0.5}, {"relu2_1", 0.5}};
  settings.init = GatysInit::noise;
  settings.alpha *= weights;
  settings.beta *= weights;
  settings.tv = 0;
  return settings;
}

class HalfPrecision : public ::testing::Test {
 protected:
  void SetUp() override {
    if (on_cpu()) GTEST_SKIP() << "fp16 is for CUDA devices: MINIDL_TEST_DEVICE=cuda";
  }

  /// `run` in fp32, then in fp16.
  template <typename Run>
  static auto both(const Run& run) {
    auto expected = run();
    const execution::PrecisionScope scope(Precision::fp16);
    return std::pair{std::move(expected), run()};
  }
  static layers::Vgg on_device(const layers::NetworkDescription& description) {
    layers::Vgg network(description);
    network.to(device());
    return network;
  }

  const std::vector<double> weights_ =
      kUnderSanitizer ? std::vector<double>{1.0, 1e6} : std::vector<double>{1e-6, 1.0, 1e6};
  TemporaryFolder folder_;
};

struct Evaluation {
  GatysLosses losses;
  Tensor gradient;
};

Evaluation evaluate(layers::Vgg network, const GatysSettings& settings) {
  Evaluation result;
  result.losses = Gatys(network, settings, small_pictures()).evaluate_start(&result.gradient);
  result.gradient = result.gradient.to(Device::cpu());
  return result;
}

TEST_F(HalfPrecision, GivesLossesAndGradientWhateverTheyWeigh) {
  for (const LossForm form : {LossForm::paper, LossForm::mean, LossForm::relative}) {
    for (const double weights : weights_) {
      const auto [expected, actual] =
          both([&] { return evaluate(on_device(network_of_eights()), settings_of_eights(form, weights)); });
      EXPECT_NEAR(actual.losses.total, expected.losses.total, 2e-3 * expected.losses.total) << weights;
      EXPECT_LE(normalised_error(actual.gradient, expected.gradient), 2e-2) << weights;
    }
  }
}

TEST_F(HalfPrecision, GivesThemWhereFeaturesAreLargerThanItsNumbers) {
  const layers::NetworkDescription large = network_of_eights(0x1p12f);
  layers::Vgg plain(large);
  EXPECT_GT(max_abs(plain(Variable(small_pictures().content), {"relu1_1"}).at("relu1_1").value()), 2 * 65504.0f);
  const auto [expected, actual] =
      both([&] { return evaluate(on_device(large), settings_of_eights(LossForm::relative, 1.0)); });
  EXPECT_NEAR(actual.losses.total, expected.losses.total, 2e-3 * expected.losses.total);
  EXPECT_LE(normalised_error(actual.gradient, expected.gradient), 2e-2);
}

TEST_F(HalfPrecision, LowersTheLossAsFp32Does) {
  for (const auto& [form, weights] : {std::pair{LossForm::relative, 1e-6}, {LossForm::mean, 1e6}}) {
    const auto [expected, actual] = both([&, f = form, w = weights] {
      layers::Vgg network = on_device(network_of_eights());
      return Gatys(network, settings_of_eights(f, w), small_pictures()).run();
    });
    ASSERT_EQ(actual.history.size(), 4u);
    EXPECT_LT(expected.losses.total, 0.5 * expected.history.front().total);
    EXPECT_NEAR(actual.losses.total, expected.losses.total, 0.05 * expected.losses.total) << weights;
  }
}

/// With a loss scale so small that gradients vanish, if that is what a run goes on with.
SafetensorsContent with_other_scale(SafetensorsContent state) {
  for (auto& [name, tensor] : state.tensors) {
    if (name == "loss_scale") tensor.data<double>()[0] *= 0x1p-40;
  }
  return state;
}

TEST_F(HalfPrecision, APictureGoesOnBitForBitFromASavedState) {
  const execution::PrecisionScope scope(Precision::fp16);
  for (const GatysOptimizer optimizer : {GatysOptimizer::adam, GatysOptimizer::lbfgs}) {
    GatysSettings settings = settings_of_eights(LossForm::relative, 1e-6);
    settings.optimizer = optimizer;
    layers::Vgg network = on_device(network_of_eights()), other = on_device(network_of_eights());
    const GatysResult whole = Gatys(network, settings, small_pictures()).run();

    Gatys first(network, settings, small_pictures());
    first.run([](const GatysProgress& progress) { return progress.iteration < 2; });
    write_safetensors(folder_ / "state", first.state());
    write_safetensors(folder_ / "other", with_other_scale(first.state()));
    Gatys second(other, settings, small_pictures());
    second.load_state(folder_ / "other");
    EXPECT_FALSE(same_bytes(second.run().picture, whole.picture));
    second.load_state(folder_ / "state");
    EXPECT_TRUE(same_bytes(second.run().picture, whole.picture));
  }
}

FastStyleSettings training_settings(double weights) {
  FastStyleSettings settings = small_fast_settings();
  settings.content_layers = {{"relu2_2", 1.0}};
  settings.style_layers = {{"relu1_1", 0.5}, {"relu2_1", 0.5}};
  settings.steps = 1;
  settings.batch = 1;
  settings.alpha *= weights;
  settings.beta *= weights;
  settings.tv *= weights;
  return settings;
}

FastStyleData training_data(int styles) {
  FastStyleData data = small_fast_data(styles);
  data.photos = [](int64_t step) { return small_photos(step, 1); };
  return data;
}

struct Step {
  FastStyleLosses losses;
  std::vector<Tensor> gradients;  // a tenth of them: Adam's first moments
  std::vector<Tensor> averages;   // of batch norm
};

Step first_step(layers::Vgg network, const FastStyleSettings& settings) {
  FastStyle training(network, settings, training_data(1));
  Step result;
  training.run([&](const FastStyleProgress& progress) {
    EXPECT_EQ(progress.note, "");
    result.losses = progress.losses;
    return true;
  });
  for (const auto& [name, tensor] : training.state().tensors) {
    if (name.find("first_moment") != std::string::npos) result.gradients.push_back(tensor.to(Device::cpu()));
    if (name.find("running_") != std::string::npos) result.averages.push_back(tensor.to(Device::cpu()));
  }
  return result;
}

/// ||difference|| / ||expected|| of all parameters together.
double deviation(const std::vector<Tensor>& actual, const std::vector<Tensor>& expected) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += squared_distance(actual[i], expected[i]);
    norm += squared_norm(expected[i]);
  }
  return std::sqrt(difference / norm);
}

TEST_F(HalfPrecision, TrainsANet) {
  for (const double weights : weights_) {
    FastStyleSettings settings = training_settings(weights);
    if (weights == 1.0) settings.net.norm = layers::NormKind::batch;
    const auto [expected, actual] = both([&] { return first_step(on_device(network_of_eights()), settings); });
    EXPECT_NEAR(actual.losses.total, expected.losses.total, 5e-3 * expected.losses.total);
    ASSERT_GT(expected.gradients.size(), 20u);
    EXPECT_LE(deviation(actual.gradients, expected.gradients), 0.05) << weights;
    EXPECT_EQ(expected.averages.empty(), weights != 1.0);
    if (weights == 1.0) {  // the choice of a scale leaves them as they were
      EXPECT_LE(deviation(actual.averages, expected.averages), 5e-3);
    }
  }
}

TEST_F(HalfPrecision, AppliesANet) {
  const auto [expected, actual] = both([&] {
    layers::TransformNet net = small_transform_net({});
    net.to(device());
    return Stylizer(std::move(net), {})(wavy_picture(19, 30, 2));
  });
  EXPECT_FALSE(same_bytes(actual, expected));
  EXPECT_LE(normalised_error(actual, expected), 2e-3);
}

TEST_F(HalfPrecision, ATrainingGoesOnBitForBitFromASavedState) {
  const execution::PrecisionScope scope(Precision::fp16);
  FastStyleSettings settings = training_settings(1e-6);
  settings.steps = 2;
  const FastStyleData data = training_data(2);
  const auto final_net = [](FastStyle& training) {
    training.run();
    return training.net().state().tensors;
  };
  layers::Vgg network = on_device(network_of_eights()), other = on_device(network_of_eights());
  FastStyle whole(network, settings, data), second(other, settings, data), third(other, settings, data);
  whole.run([](const FastStyleProgress&) { return false; });
  write_safetensors(folder_ / "state", whole.state());
  write_safetensors(folder_ / "other", with_other_scale(whole.state()));
  second.load_state(folder_ / "state");
  third.load_state(folder_ / "other");
  const auto expected = final_net(whole), actual = final_net(second), different = final_net(third);
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_TRUE(same_bytes(actual[i].second, expected[i].second)) << expected[i].first;
  EXPECT_FALSE(same_bytes(different.front().second, expected.front().second));
}

}  // namespace
}  // namespace minidl::test
