// The optimisation of a picture on a small random network: gradients, loss forms, optimisers, scales, recovery, and
// what is refused.
#include <minidl/apps/gatys.h>
#include <support/compare.h>
#include <support/random_tensors.h>
#include <support/small_gatys.h>
#include <support/threads.h>

namespace minidl::test {
namespace {

class GatysRun : public ::testing::Test {
 protected:
  GatysResult run(const GatysSettings& settings, const GatysPictures& pictures = small_pictures(),
                  const Gatys::Callback& callback = {}) {
    return Gatys(network_, settings, pictures).run(callback);
  }

  layers::Vgg network_{small_vgg()};
};

struct GradientCase {
  std::string name;
  LossForm form;
  PoolKind pooling;
  bool normalize = false;
};

class GatysGradient : public ::testing::TestWithParam<GradientCase> {};

// Along random directions: differences of single values drown in the rounding of f32 features.
TEST_P(GatysGradient, MatchesDifferences) {
  const GradientCase& tested = GetParam();
  layers::Vgg network(small_vgg());
  network.set_pooling(tested.pooling);
  GatysSettings settings = small_settings();
  settings.form = tested.form;
  settings.content_layers = {{"relu3_1", 0.5}, {"relu4_1", 1.0}};
  settings.tv = tested.form == LossForm::relative ? 50.0 : 0.3;
  const GatysPictures pictures = small_pictures();
  GatysObjective objective(network, settings, pictures.content,
                           {{wavy_picture(33, 25, 5), 1.0}, {wavy_picture(24, 24, 6), 3.0}});
  const Tensor picture = random_uniform(pictures.content.shape(), 11, 0.0f, 255.0f);
  if (tested.normalize) objective.normalize_at(picture);

  Tensor gradient;
  const GatysLosses losses = objective.evaluate(picture, &gradient);
  EXPECT_GT(losses.content, 0.0);
  EXPECT_GT(losses.style, 0.0);
  EXPECT_GT(losses.tv_term, 0.0);
  const double objective_without_gradient = objective.evaluate(picture, nullptr).objective;
  EXPECT_EQ(losses.objective, objective_without_gradient);
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    // Half along the gradient, so that the derivative is not small against the terms it is made of.
    Tensor direction = random_uniform(picture.shape(), seed);
    const double scale = std::sqrt(inner_product(direction, direction) / inner_product(gradient, gradient));
    for (size_t i = 0; i < direction.span<float>().size(); ++i) {
      direction.span<float>()[i] += static_cast<float>(scale) * gradient.span<float>()[i];
    }
    const auto at = [&](float step) {
      Tensor moved = picture.clone();
      for (size_t i = 0; i < moved.span<float>().size(); ++i) {
        moved.span<float>()[i] += step * direction.span<float>()[i];
      }
      return objective.evaluate(moved, nullptr).objective;
    };
    constexpr float kStep = 0.02f;
    const double difference = (at(kStep) - at(-kStep)) / (2.0 * kStep);
    EXPECT_NEAR(difference / inner_product(gradient, direction), 1.0, 0.01) << "direction " << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, GatysGradient,
                         ::testing::Values(GradientCase{"paper_max", LossForm::paper, PoolKind::max},
                                           GradientCase{"paper_avg", LossForm::paper, PoolKind::average},
                                           GradientCase{"mean_max", LossForm::mean, PoolKind::max},
                                           GradientCase{"mean_avg", LossForm::mean, PoolKind::average},
                                           GradientCase{"relative_max", LossForm::relative, PoolKind::max},
                                           GradientCase{"relative_avg", LossForm::relative, PoolKind::average},
                                           GradientCase{"paper_normalized", LossForm::paper, PoolKind::max, true}),
                         [](const auto& tested) { return tested.param.name; });

class GatysForms : public GatysRun {
 protected:
  GatysLosses losses(LossForm form) {
    GatysSettings settings = small_settings();
    settings.form = form;
    settings.init = GatysInit::noise;
    settings.alpha = settings.beta = 1.0;
    settings.tv = 1.0;
    return Gatys(network_, settings, small_pictures()).evaluate_start();
  }
};

TEST_F(GatysForms, FactorsBetweenThemAreExact) {
  const GatysLosses paper = losses(LossForm::paper), mean = losses(LossForm::mean),
                    relative = losses(LossForm::relative);
  EXPECT_EQ(paper.content_layers, mean.content_layers);  // always the paper's
  EXPECT_EQ(paper.style_layers, relative.style_layers);
  const Shape features = network_.feature_shape("relu4_1", small_pictures().content.shape());
  EXPECT_DOUBLE_EQ(paper.content, paper.content_layers.at("relu4_1"));
  EXPECT_DOUBLE_EQ(mean.content, 2.0 / static_cast<double>(features.count()) * paper.content);
  const double channels = 6;
  EXPECT_DOUBLE_EQ(mean.style, 4.0 / (channels * channels) * paper.style);
  // || F - P ||^2 / || P ||^2
  const Tensor target = network_(Variable(small_pictures().content), {"relu4_1"}).at("relu4_1").value();
  EXPECT_NEAR(relative.content / (2.0 * paper.content / inner_product(target, target)), 1.0, 1e-9);
}

TEST_F(GatysForms, TotalVariationOfEach) {
  const GatysLosses paper = losses(LossForm::paper), mean = losses(LossForm::mean),
                    relative = losses(LossForm::relative);
  EXPECT_DOUBLE_EQ(paper.tv_term, paper.tv);
  EXPECT_DOUBLE_EQ(paper.total, paper.content + paper.style + paper.tv_term);
  EXPECT_EQ(paper.total, paper.objective);
  EXPECT_DOUBLE_EQ(mean.total, mean.content + mean.style);  // its program does not print it
  EXPECT_GT(mean.objective, mean.total);
  const double values = static_cast<double>(small_pictures().content.count());
  EXPECT_DOUBLE_EQ(relative.tv_term, paper.tv / (values * 128.0 * 128.0));
}

TEST_F(GatysRun, StyleOfSeveralPicturesIsTheWeightedMeanOfTheirGradients) {
  const GatysSettings settings = small_settings(LossForm::paper);
  const Tensor content = small_pictures().content, first = wavy_picture(30, 20, 5), second = wavy_picture(24, 40, 6);
  const auto gradient_with = [&](const std::vector<GatysObjective::Style>& styles) {
    Tensor gradient;
    GatysObjective(network_, settings, content, styles).evaluate(random_uniform(content.shape(), 3, 0, 255), &gradient);
    return gradient;
  };
  const Tensor a = gradient_with({{first, 1.0}}), b = gradient_with({{second, 1.0}});
  const Tensor both = gradient_with({{first, 1.0}, {second, 3.0}});
  std::vector<double> expected;
  for (size_t i = 0; i < a.span<float>().size(); ++i) {
    expected.push_back(0.25 * static_cast<double>(a.span<float>()[i]) + 0.75 * static_cast<double>(b.span<float>()[i]));
  }
  EXPECT_LT(normalised_error(both, expected), 1e-5);
}

TEST_F(GatysRun, SameBytesForEveryNumberOfThreads) {
  for (const GatysOptimizer optimizer : {GatysOptimizer::lbfgs, GatysOptimizer::adam, GatysOptimizer::sgd}) {
    GatysSettings settings = small_settings();
    settings.optimizer = optimizer;
    settings.init = GatysInit::noise;
    EXPECT_TRUE(same_for_all_threads([&] { return run(settings).picture; })) << static_cast<int>(optimizer);
  }
}

TEST_F(GatysRun, EveryOptimiserLowersTheLoss) {
  for (const GatysOptimizer optimizer : {GatysOptimizer::lbfgs, GatysOptimizer::adam, GatysOptimizer::sgd}) {
    GatysSettings settings = small_settings();
    settings.optimizer = optimizer;
    settings.iterations = 15;
    if (optimizer == GatysOptimizer::sgd) settings.lr = 1.0;
    const double start = Gatys(network_, settings, small_pictures()).evaluate_start().total;
    const GatysResult result = run(settings);
    EXPECT_LT(result.losses.total, 0.7 * start) << static_cast<int>(optimizer);
    ASSERT_EQ(result.history.size(), 15u);
    EXPECT_NEAR(result.history.back().total / result.losses.total, 1.0, 1e-9);  // of the picture after the iteration
    EXPECT_GE(result.history.back().evaluations, 16);
  }
}

TEST_F(GatysRun, CoarseToFine) {
  GatysSettings settings = small_settings();
  settings.scales = 5;
  settings.size = 100;
  const GatysPictures pictures{.content = wavy_picture(31, 40, 1), .styles = {{wavy_picture(20, 40, 2)}}, .init = {}};
  Gatys gatys(network_, settings, pictures);
  // Steps of sqrt 2 from 100; 71 and smaller leave the style's shorter side below 64.
  ASSERT_EQ(gatys.scale_sizes().size(), 1u);
  settings.size = 192;
  settings.style_scale = 1.5;
  Gatys larger(network_, settings, pictures);
  const std::vector<Extent> sizes = larger.scale_sizes();
  ASSERT_EQ(sizes.size(), 3u);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(sizes[i].width, (std::vector<int64_t>{96, 136, 192})[i]);
  EXPECT_EQ(sizes[2].height, 149);  // 192 * 31 / 40
  EXPECT_EQ(larger.style_size(pictures.styles[0].picture, 0).width, 144);
  EXPECT_EQ(larger.style_size(pictures.styles[0].picture, 2).width, 288);

  settings.iterations = 1;
  std::vector<std::pair<int, int64_t>> seen;
  double work = 0;
  const GatysResult result = run(settings, pictures, [&](const GatysProgress& progress) {
    seen.emplace_back(progress.scale, progress.width);
    EXPECT_GT(progress.work_done, work);
    work = progress.work_done;
    EXPECT_EQ(progress.picture().shape(), (Shape{1, 149, 192, 3}));
    return true;
  });
  EXPECT_EQ(seen, (std::vector<std::pair<int, int64_t>>{{0, 96}, {1, 136}, {2, 192}}));
  EXPECT_DOUBLE_EQ(work, 1.0);
  EXPECT_EQ(result.picture.shape(), (Shape{1, 149, 192, 3}));
}

TEST_F(GatysRun, StartingPictures) {
  GatysSettings settings = small_settings();
  settings.iterations = 0;
  GatysPictures pictures = small_pictures();
  pictures.init = random_uniform(pictures.content.shape(), 9, 0.0f, 255.0f);
  const auto start = [&](GatysInit init) {
    settings.init = init;
    return run(settings, pictures).picture;
  };
  EXPECT_TRUE(same_bytes(start(GatysInit::content), pictures.content));
  EXPECT_TRUE(same_bytes(start(GatysInit::picture), pictures.init));
  EXPECT_TRUE(same_bytes(start(GatysInit::style), resize_image(pictures.styles[0].picture, 24, 32)));
  const Tensor noise = start(GatysInit::noise);
  EXPECT_TRUE(same_bytes(noise, start(GatysInit::noise)));
  double sum = 0;
  for (const float value : noise.span<float>()) sum += value;
  EXPECT_NEAR(sum / static_cast<double>(noise.count()), 114.8, 6.0);  // the mean colour's mean; 30 / sqrt(2304) = 0.6
  settings.seed = 2;
  EXPECT_FALSE(same_bytes(noise, start(GatysInit::noise)));
}

// Whatever the number of scales: the picture that is evaluated never was resized.
TEST_F(GatysRun, NoIterationsEvaluateTheGivenPicture) {
  GatysSettings settings = small_settings();
  settings.iterations = 0;
  settings.init = GatysInit::picture;
  GatysPictures pictures{.content = wavy_picture(100, 130, 1), .styles = {{wavy_picture(100, 100, 2)}}, .init = {}};
  pictures.init = random_uniform(pictures.content.shape(), 9, 0.0f, 255.0f);
  settings.scales = 1;
  const GatysResult single = run(settings, pictures);
  settings.scales = 2;
  ASSERT_EQ(Gatys(network_, settings, pictures).scale_sizes().size(), 2u);
  const GatysResult several = run(settings, pictures);
  EXPECT_TRUE(same_bytes(several.picture, pictures.init));
  EXPECT_EQ(several.losses.total, single.losses.total);
  EXPECT_EQ(several.grad_norm, single.grad_norm);
}

TEST_F(GatysRun, CallbackStopsIt) {
  GatysSettings settings = small_settings();
  settings.iterations = 50;
  const GatysResult result =
      run(settings, small_pictures(), [](const GatysProgress& progress) { return progress.iteration < 3; });
  EXPECT_TRUE(result.cancelled);
  EXPECT_EQ(result.iterations, 3);
  settings.iterations = 3;
  EXPECT_TRUE(same_bytes(result.picture, run(settings).picture));
}

TEST_F(GatysRun, AfterTheStartItCannotBeEvaluated) {
  Gatys gatys(network_, small_settings(), small_pictures());
  gatys.run();
  EXPECT_TRUE(throws_error([&] { gatys.evaluate_start(); }, "has begun"));
}

TEST_F(GatysRun, ColoursOfTheContent) {
  GatysSettings settings = small_settings();
  const Tensor plain = run(settings).picture;
  settings.original_colors = true;
  const Tensor kept = run(settings).picture;
  EXPECT_FALSE(same_bytes(plain, kept));
  settings.original_colors = false;
  std::vector<Tensor> results{plain};
  for (const ColorMatch match : {ColorMatch::mean, ColorMatch::covariance, ColorMatch::histogram}) {
    settings.match_colors = match;
    const Tensor picture = run(settings).picture;
    for (const Tensor& other : results) EXPECT_FALSE(same_bytes(picture, other)) << static_cast<int>(match);
    results.push_back(picture);
  }
}

}  // namespace
}  // namespace minidl::test
