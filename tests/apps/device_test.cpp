// Whole runs on the device that MINIDL_TEST_DEVICE names against the same on the CPU, computed by the definition in f64
// sums: style transfer of a picture, training of a transform net, and that net applied.
#include <minidl/apps/fast_style.h>
#include <minidl/apps/stylizer.h>
#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/execution.h>
#include <minidl/kernels/precision_scope.h>
#include <support/compare.h>
#include <support/device.h>
#include <support/sanitizer.h>
#include <support/small_fast_style.h>
#include <support/small_transform_net.h>
#include <support/temporary_folder.h>

namespace minidl::test {
namespace {

class OtherDevice : public ::testing::Test {
 protected:
  void SetUp() override {
    if (on_cpu()) GTEST_SKIP() << "the tests run on the CPU";
  }

  /// `run(device)` on the CPU with the engine `reference`, then on the device.
  template <typename Run>
  static auto on_both(const Run& run) {
    execution::set_conv2d_engine("reference");
    auto expected = run(Device::cpu());
    execution::set_conv2d_engine("");
    return std::pair{std::move(expected), run(device())};
  }

  static double largest_difference(const Tensor& a, const Tensor& b) {
    double largest = 0;
    for (size_t i = 0; i < a.span<float>().size(); ++i) {
      largest = std::max(largest, static_cast<double>(std::abs(a.span<float>()[i] - b.span<float>()[i])));
    }
    return largest;
  }
};

void expect_close(const std::map<std::string, double>& actual, const std::map<std::string, double>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (const auto& [name, value] : expected) EXPECT_NEAR(actual.at(name), value, 1e-5 * std::abs(value)) << name;
}

struct Evaluation {
  GatysLosses losses;
  Tensor gradient;
};

TEST_F(OtherDevice, GivesTheLossesAndTheGradientOfAPicture) {
  for (const LossForm form : {LossForm::relative, LossForm::mean, LossForm::paper}) {
    for (const PoolKind pooling : {PoolKind::max, PoolKind::average}) {
      const auto [expected, actual] = on_both([&](Device device) {
        layers::Vgg network(small_vgg());
        network.to(device);
        GatysSettings settings = small_settings(form);
        settings.pooling = pooling;
        settings.init = GatysInit::noise;
        settings.tv = 0.5;
        settings.normalize_gradients = form == LossForm::mean;
        Evaluation result;
        result.losses = Gatys(network, settings, small_pictures()).evaluate_start(&result.gradient);
        result.gradient = result.gradient.to(Device::cpu());
        return result;
      });
      expect_close(actual.losses.content_layers, expected.losses.content_layers);
      expect_close(actual.losses.style_layers, expected.losses.style_layers);
      EXPECT_NEAR(actual.losses.tv, expected.losses.tv, 1e-5 * expected.losses.tv);
      EXPECT_NEAR(actual.losses.total, expected.losses.total, 1e-5 * expected.losses.total);
      EXPECT_LE(normalised_error(actual.gradient, expected.gradient), 5e-4);
    }
  }
}

/// A network whose convolutions are pooled as they are written; pictures of odd sizes.
TEST_F(OtherDevice, GivesThemOnTensorCores) {
  struct Grade {
    Precision precision;
    double loss, gradient;
  };
  for (const Grade& grade : {Grade{Precision::tf32, 2e-3, 2e-2}, {Precision::bf16, 2e-2, 0.12}}) {
    for (const PoolKind pooling : {PoolKind::max, PoolKind::average}) {
      execution::set_precision(grade.precision);
      const auto [expected, actual] = on_both([&](Device device) {
        layers::Vgg network(tiny_vgg({2, 2, 1, 1, 1}, 8));
        network.to(device);
        GatysSettings settings = small_settings();
        settings.pooling = pooling;
        settings.init = GatysInit::noise;
        const GatysPictures pictures{
            .content = wavy_picture(27, 37, 1), .styles = {{wavy_picture(29, 35, 3)}}, .init = {}};
        Evaluation result;
        result.losses = Gatys(network, settings, pictures).evaluate_start(&result.gradient);
        result.gradient = result.gradient.to(Device::cpu());
        return result;
      });
      execution::set_precision(Precision::fp32);
      EXPECT_NEAR(actual.losses.total, expected.losses.total, grade.loss * expected.losses.total);
      const double choices = pooling == PoolKind::max ? 2.5 : 1.0;  // some maxima are another pixel's
      EXPECT_LE(normalised_error(actual.gradient, expected.gradient), choices * grade.gradient);
    }
  }
}

GatysResult transfer(Device device, GatysOptimizer optimizer, int scales) {
  layers::Vgg network(small_vgg());
  network.to(device);
  GatysSettings settings = small_settings();
  settings.optimizer = optimizer;
  settings.iterations = 3;
  settings.scales = scales;
  settings.original_colors = scales > 1;
  return Gatys(network, settings, small_pictures()).run();
}

TEST_F(OtherDevice, GivesThePictureAfterThreeSteps) {
  for (const GatysOptimizer optimizer : {GatysOptimizer::adam, GatysOptimizer::sgd, GatysOptimizer::lbfgs}) {
    const auto [expected, actual] = on_both([&](Device device) { return transfer(device, optimizer, 1); });
    EXPECT_EQ(actual.picture.device(), Device::cpu());
    EXPECT_LE(largest_difference(actual.picture, expected.picture), 1.0) << static_cast<int>(optimizer);
    EXPECT_NEAR(actual.losses.total, expected.losses.total, 1e-3 * expected.losses.total);
  }
}

TEST_F(OtherDevice, GoesFromCoarseToFine) {
  const auto [expected, actual] = on_both([&](Device device) { return transfer(device, GatysOptimizer::adam, 2); });
  EXPECT_LE(largest_difference(actual.picture, expected.picture), 1.0);
}

TEST_F(OtherDevice, GoesOnBitForBitFromASavedState) {
  const TemporaryFolder folder;
  for (const GatysOptimizer optimizer : {GatysOptimizer::adam, GatysOptimizer::lbfgs}) {
    layers::Vgg network(small_vgg());
    network.to(device());
    GatysSettings settings = small_settings();
    settings.optimizer = optimizer;
    const GatysResult whole = Gatys(network, settings, small_pictures()).run();

    Gatys first(network, settings, small_pictures());
    first.run([](const GatysProgress& progress) { return progress.iteration < 2; });
    write_safetensors(folder / "state.safetensors", first.state());
    Gatys second(network, settings, small_pictures());
    second.load_state(folder / "state.safetensors");
    EXPECT_TRUE(same_bytes(second.run().picture, whole.picture));
  }
}

struct Trained {
  FastStyleLosses losses;
  std::map<std::string, Tensor> gradients;  // a tenth of them: Adam's first moments after one step
};

Trained train(Device device, const FastStyleSettings& settings, int styles, int64_t photos) {
  layers::Vgg network(small_vgg());
  network.to(device);
  FastStyleData data = small_fast_data(styles);
  data.photos = [photos](int64_t) { return small_photos(photos); };
  FastStyle training(network, settings, data);
  Trained result;
  training.run([&](const FastStyleProgress& progress) {
    result.losses = progress.losses;
    return true;
  });
  for (const auto& [name, tensor] : training.state().tensors) {
    if (name.find("first_moment") != std::string::npos) result.gradients[name] = tensor.to(Device::cpu());
  }
  return result;
}

/// Largest deviation of a parameter's gradient, relative to its norm. Biases before a normalisation have a gradient of
/// zero but for rounding: 1e-5 of the largest gradient counts as nothing.
double deviation(const std::map<std::string, Tensor>& actual, const std::map<std::string, Tensor>& expected) {
  const auto norm = [](const Tensor& x) { return std::sqrt(inner_product(x, x)); };
  double largest = 0, worst = 0;
  for (const auto& [name, gradient] : expected) largest = std::max(largest, norm(gradient));
  for (const auto& [name, gradient] : expected) {
    Tensor difference = actual.at(name).clone();
    add_scaled(1.0f, difference, -1.0f, gradient, difference);
    worst = std::max(worst, std::max(0.0, norm(difference) - 1e-5 * largest) / norm(gradient));
  }
  return worst;
}

/// One step: after more of them Adam has made large differences of gradients that are nearly zero. In a net this small
/// one ReLU that falls the other way by a rounding moves a gradient by a hundredth, on the CPU's engines, too; photos
/// are tried until none does.
TEST_F(OtherDevice, TrainsEveryKindOfNet) {
  std::vector<std::pair<FastStyleSettings, int>> cases;
  FastStyleSettings settings = small_fast_settings();
  settings.steps = 1;
  cases.emplace_back(settings, 1);
  settings.net.upsample = layers::UpsampleKind::fractional;
  settings.net.output_range = layers::OutputRange::tanh;
  settings.clip_norm = 0.5;
  settings.weight_decay = 1e-3f;
  cases.emplace_back(settings, 1);
  settings = small_fast_settings();
  settings.steps = 1;
  settings.original_colors = true;
  settings.micro_batch = 1;
  cases.emplace_back(settings, 2);
  settings.micro_batch = 0;
  settings.net.norm = layers::NormKind::batch;
  settings.net.padding = Padding::Mode::zero;
  cases.emplace_back(settings, 1);
  if (kUnderSanitizer) cases = {cases[1], cases[2]};
  for (const auto& [tested, styles] : cases) {
    double worst = 1;
    for (int64_t photos = 0; photos < 6 && worst > 1e-3; ++photos) {
      const auto [expected, actual] =
          on_both([&, &s = tested, n = styles](Device device) { return train(device, s, n, photos); });
      EXPECT_NEAR(actual.losses.content, expected.losses.content, 1e-5 * expected.losses.content);
      EXPECT_NEAR(actual.losses.style, expected.losses.style, 1e-5 * expected.losses.style);
      EXPECT_NEAR(actual.losses.tv, expected.losses.tv, 1e-5 * expected.losses.tv);
      ASSERT_GT(expected.gradients.size(), 20u);
      worst = deviation(actual.gradients, expected.gradients);
      EXPECT_LE(worst, 0.1);
    }
    EXPECT_LE(worst, 1e-3) << tested.fingerprint();
  }
}

TEST_F(OtherDevice, AppliesANet) {
  for (const int64_t styles : {1, 3}) {
    const auto [expected, actual] = on_both([&](Device device) {
      layers::TransformNet net = small_transform_net({.styles = styles});
      net.to(device);
      StylizerSettings settings{.strength = 0.8, .original_colors = true};
      if (styles > 1) settings.styles = {0.25f, 0.0f, 0.75f};
      return Stylizer(std::move(net), settings)(wavy_picture(19, 30, 2));
    });
    EXPECT_EQ(actual.device(), Device::cpu());
    EXPECT_LE(largest_difference(actual, expected), 0.05);
  }
}

/// Without a tape norms write 16 bits alone for a convolution, with one both.
TEST_F(OtherDevice, AppliesANetInBf16AsWithATape) {
  const execution::PrecisionScope scope(Precision::bf16);
  for (const layers::UpsampleKind upsample : {layers::UpsampleKind::nearest, layers::UpsampleKind::fractional}) {
    for (const layers::NormKind norm : {layers::NormKind::instance, layers::NormKind::batch}) {
      layers::TransformNet net = small_transform_net({.upsample = upsample, .norm = norm});
      net.to(device());
      const Tensor picture = wavy_picture(22, 19, 4).to(device());
      const Tensor expected = net(Variable(picture)).value().to(Device::cpu());
      Tape tape;
      const TapeScope recording(tape);
      const Tensor recorded = net(Variable(picture, true)).value().to(Device::cpu());
      EXPECT_TRUE(same_bytes(recorded, expected));
    }
  }
}

}  // namespace
}  // namespace minidl::test
