// Style transfer where others give black, grey or not-a-number pictures: values out of every range, flat pictures, the
// smallest and odd sizes.
#include <minidl/apps/gatys.h>
#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/reduce.h>
#include <support/compare.h>
#include <support/small_gatys.h>

namespace minidl::test {
namespace {

class GatysExtremes : public ::testing::Test {
 protected:
  GatysResult run(const GatysSettings& settings, const GatysPictures& pictures = small_pictures(),
                  const Gatys::Callback& callback = {}) {
    return Gatys(network_, settings, pictures).run(callback);
  }
  static void expect_finite(const GatysResult& result, const std::string& what) {
    EXPECT_TRUE(all_finite(result.picture)) << what;
    EXPECT_TRUE(std::isfinite(result.losses.objective)) << what;
    EXPECT_TRUE(std::isfinite(result.grad_norm)) << what;
    for (const GatysPoint& point : result.history) EXPECT_TRUE(std::isfinite(point.total)) << what;
  }

  layers::Vgg network_{small_vgg()};
};

TEST_F(GatysExtremes, AbsurdStepsRecoverAndSaySo) {
  for (const GatysOptimizer optimizer : {GatysOptimizer::adam, GatysOptimizer::sgd}) {
    GatysSettings settings = small_settings();
    settings.optimizer = optimizer;
    settings.lr = 1e30;
    settings.iterations = 3;
    std::string notes;
    const GatysResult result = run(settings, small_pictures(), [&](const GatysProgress& progress) {
      notes += progress.note;
      EXPECT_TRUE(all_finite(progress.picture()));
      return true;
    });
    EXPECT_NE(notes.find("is not finite"), std::string::npos) << notes;
    expect_finite(result, notes);
  }
}

TEST_F(GatysExtremes, WeightsThatOverflowAreNamed) {
  for (const GatysOptimizer optimizer : {GatysOptimizer::lbfgs, GatysOptimizer::adam}) {
    GatysSettings settings = small_settings(LossForm::paper);
    settings.optimizer = optimizer;
    settings.init = GatysInit::noise;
    settings.beta = 1e38;
    EXPECT_TRUE(throws_error([&] { run(settings); }, "gradient is not finite at the starting picture"));
    settings.beta = 1e39;
    EXPECT_TRUE(throws_error([&] { run(settings); }, "beta"));
  }
}

TEST_F(GatysExtremes, WeightsOfTheNetworkThatOverflow) {
  layers::NetworkDescription huge = small_vgg();
  for (layers::LayerDescription& layer : huge.layers) {
    if (layer.kind == layers::LayerDescription::Kind::conv) affine(1e8f, layer.weight, 0.0f, layer.weight);
  }
  layers::Vgg network(huge);
  GatysSettings settings = small_settings();
  settings.init = GatysInit::noise;
  EXPECT_TRUE(throws_error([&] { Gatys(network, settings, small_pictures()).run(); }, "is not finite"));
}

TEST_F(GatysExtremes, FlatPicturesStayFinite) {
  const Tensor wavy = wavy_picture(24, 32, 1);
  Tensor mean_colour = wavy.clone();
  for (int64_t i = 0; i < mean_colour.count(); ++i) {
    mean_colour.data<float>()[i] = network_.description().mean[static_cast<size_t>(i % 3)];
  }
  Tensor grey = wavy.clone();
  for (int64_t i = 0; i < grey.count(); ++i) grey.data<float>()[i] = grey.data<float>()[i / 3 * 3];
  const auto flat = [](float level) { return Tensor::full({1, 24, 32, 3}, level); };
  const std::vector<std::pair<std::string, Tensor>> pictures{
      {"black", flat(0)}, {"white", flat(255)}, {"flat grey", flat(128)}, {"mean colour", mean_colour}, {"grey", grey}};
  for (const auto& [name, picture] : pictures) {
    for (const LossForm form : {LossForm::paper, LossForm::mean, LossForm::relative}) {
      for (const bool normalize : {false, true}) {
        GatysSettings settings = small_settings(form);
        settings.iterations = 3;
        settings.normalize_gradients = normalize;
        const std::string what =
            name + " form " + std::to_string(static_cast<int>(form)) + (normalize ? " normalized" : "");
        expect_finite(run(settings, {.content = picture, .styles = {{wavy}}, .init = {}}), "content " + what);
        expect_finite(run(settings, {.content = wavy, .styles = {{picture}}, .init = {}}), "style " + what);
        settings.init = GatysInit::noise;
        settings.original_colors = true;
        settings.match_colors = ColorMatch::covariance;
        expect_finite(run(settings, {.content = picture, .styles = {{picture}}, .init = {}}), "both " + what);
      }
    }
  }
}

TEST_F(GatysExtremes, PowersOfTwoOfTheLossChangeNoByte) {
  GatysSettings settings = small_settings(LossForm::paper);
  settings.beta = 1000;
  settings.init = GatysInit::noise;
  settings.iterations = 8;
  const Tensor expected = run(settings).picture;
  for (const double factor : {0x1p-32, 0x1p32}) {
    GatysSettings scaled = settings;
    scaled.alpha *= factor;
    scaled.beta *= factor;
    scaled.tv *= factor;
    EXPECT_TRUE(same_bytes(run(scaled).picture, expected)) << factor;
  }
}

TEST_F(GatysExtremes, SmallestSize) {
  const Tensor style = wavy_picture(24, 24, 3), small = wavy_picture(15, 40, 1);
  const GatysSettings settings = small_settings();
  EXPECT_TRUE(throws_error([&] { run(settings, {.content = small, .styles = {{style}}, .init = {}}); }, "at least 16"));
  EXPECT_TRUE(throws_error([&] { run(settings, {.content = style, .styles = {{small}}, .init = {}}); }, "at least 16"));
  const GatysResult result =
      run(settings, {.content = wavy_picture(16, 16, 1), .styles = {{wavy_picture(16, 16, 2)}}, .init = {}});
  EXPECT_EQ(result.picture.shape(), (Shape{1, 16, 16, 3}));
  expect_finite(result, "16 x 16");
}

TEST_F(GatysExtremes, OddSizes) {
  for (const auto& [height, width] : {std::pair<int64_t, int64_t>{17, 31}, {47, 19}, {16, 33}}) {
    const GatysPictures pictures{
        .content = wavy_picture(height, width, 1), .styles = {{wavy_picture(width, height, 2)}}, .init = {}};
    const GatysResult result = run(small_settings(), pictures);
    EXPECT_EQ(result.picture.shape(), (Shape{1, height, width, 3}));
    expect_finite(result, "odd");
    EXPECT_LT(result.losses.total, result.history.front().total);
  }
}

TEST_F(GatysExtremes, SettingsOutOfTheirRangeAreNamed) {
  const auto refused = [&](const std::string& words, const std::function<void(GatysSettings&)>& change) {
    GatysSettings settings = small_settings();
    change(settings);
    return throws_error([&] { Gatys(network_, settings, small_pictures()); }, words);
  };
  EXPECT_TRUE(refused("alpha", [](GatysSettings& s) { s.alpha = -1; }));
  EXPECT_TRUE(refused("beta", [](GatysSettings& s) { s.beta = NAN; }));
  EXPECT_TRUE(refused("tv", [](GatysSettings& s) { s.tv = INFINITY; }));
  EXPECT_TRUE(refused("size", [](GatysSettings& s) { s.size = -1; }));
  EXPECT_TRUE(refused("scales", [](GatysSettings& s) { s.scales = 0; }));
  EXPECT_TRUE(refused("iterations", [](GatysSettings& s) { s.iterations = 1 << 30; }));
  EXPECT_TRUE(refused("momentum", [](GatysSettings& s) { s.momentum = 2; }));
  EXPECT_TRUE(refused("relu9_9", [](GatysSettings& s) { s.content_layers = {{"relu9_9", 1}}; }));
  EXPECT_TRUE(refused("relu1_1", [](GatysSettings& s) { s.style_layers = {{"relu1_1", -1}}; }));
  EXPECT_TRUE(refused("starting picture", [](GatysSettings& s) { s.init = GatysInit::picture; }));
  EXPECT_TRUE(throws_error([&] { GatysSettings::preset("papr"); }, "no preset 'papr'"));
}

TEST_F(GatysExtremes, PicturesThatMakeNoSenseAreRefused) {
  const auto refused = [&](const GatysPictures& pictures, const std::string& words) {
    return throws_error([&] { Gatys(network_, small_settings(), pictures).run(); }, words);
  };
  const Tensor good = wavy_picture(24, 24, 1);
  EXPECT_TRUE(refused({.content = {}, .styles = {{good}}, .init = {}}, "needed"));
  EXPECT_TRUE(refused({.content = good, .styles = {}, .init = {}}, "needed"));
  EXPECT_TRUE(
      refused({.content = Tensor::zeros({1, 24, 24, 1}), .styles = {{good}}, .init = {}}, "[1, height, width, 3]"));
  EXPECT_TRUE(refused({.content = good, .styles = {{good, 0.0}}, .init = {}}, "weights of the style pictures"));
  Tensor broken = good.clone();
  broken.data<float>()[5] = NAN;
  EXPECT_TRUE(refused({.content = broken, .styles = {{good}}, .init = {}}, "not finite"));
  EXPECT_TRUE(refused({.content = good, .styles = {{broken}}, .init = {}}, "not finite"));
}

}  // namespace
}  // namespace minidl::test
