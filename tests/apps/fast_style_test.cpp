// Training of a transform net on small pictures: it learns, it resumes bit for bit, it survives steps that are not
// finite, it watches held-out photos, and what is refused.
#include <support/compare.h>
#include <support/small_fast_style.h>
#include <support/temporary_folder.h>
#include <support/test_data.h>
#include <support/threads.h>

#include <limits>

namespace minidl::test {
namespace {

using layers::NormKind;
using layers::OutputRange;
using layers::UpsampleKind;

class FastStyleRun : public ::testing::Test {
 protected:
  layers::Vgg network_{small_vgg()};
  TemporaryFolder folder_;
};

/// Parameters and buffers, byte by byte.
void expect_same_net(const SafetensorsContent& actual, const SafetensorsContent& expected) {
  ASSERT_EQ(actual.tensors.size(), expected.tensors.size());
  for (size_t i = 0; i < actual.tensors.size(); ++i) {
    EXPECT_EQ(actual.tensors[i].first, expected.tensors[i].first);
    EXPECT_TRUE(same_bytes(actual.tensors[i].second, expected.tensors[i].second)) << actual.tensors[i].first;
  }
}

TEST_F(FastStyleRun, LearnsBothTerms) {
  FastStyleSettings settings = small_fast_settings();
  settings.steps = 60;
  settings.lr = 5e-3f;
  FastStyle training(network_, settings, small_fast_data());
  const FastStyleLosses before = training.evaluate(wavy_picture(30, 34, 2));
  const FastStyleResult result = training.run();
  const FastStyleLosses after = training.evaluate(wavy_picture(30, 34, 2));
  EXPECT_EQ(result.steps, 60);
  EXPECT_FALSE(result.cancelled);
  EXPECT_LT(after.style, 0.5 * before.style);
  EXPECT_LT(after.total, 0.5 * before.total);
  ASSERT_EQ(training.history().size(), 60u);
  EXPECT_EQ(training.history().back().step, 60);
  EXPECT_GT(training.history().back().seconds, training.history().front().seconds);
}

// The parts are what the total is made of, in every form.
TEST_F(FastStyleRun, LossesAddUp) {
  for (const LossForm form : {LossForm::paper, LossForm::mean, LossForm::relative}) {
    FastStyleSettings settings = small_fast_settings();
    settings.form = form;
    settings.alpha = 0.5;
    settings.beta = 7.0;
    FastStyle training(network_, settings, small_fast_data());
    const FastStyleLosses losses = training.evaluate(wavy_picture(32, 32, 2));
    const double style = 7.0 * 0.5 * (losses.style_layers.at("relu1_1") + losses.style_layers.at("relu3_1"));
    EXPECT_NEAR(losses.style, style, 1e-6 * style);
    EXPECT_NEAR(losses.content, 0.5 * losses.content_layers.at("relu2_1"), 1e-6 * losses.content);
    EXPECT_NEAR(losses.total, losses.content + losses.style + losses.tv, 1e-6 * losses.total);
    EXPECT_GT(losses.tv, 0.0);
  }
}

// A batch has the mean of its pictures' losses, where the terms are not measured against the batch.
TEST_F(FastStyleRun, ABatchIsAveraged) {
  for (const LossForm form : {LossForm::paper, LossForm::mean}) {
    FastStyleSettings settings = small_fast_settings();
    settings.form = form;
    FastStyle training(network_, settings, small_fast_data());
    const FastStyleLosses both = training.evaluate(small_photos(0));
    double total = 0, style = 0;
    for (int64_t i = 0; i < 2; ++i) {
      const FastStyleLosses one = training.evaluate(small_photos(0).slice(i, i + 1).clone());
      total += 0.5 * one.total;
      style += 0.5 * one.style;
    }
    EXPECT_NEAR(both.total, total, 1e-5 * total);
    EXPECT_NEAR(both.style, style, 1e-5 * style);
  }
}

// Weights chosen for a network on normalised pictures: its features are smaller by the unit, its Gram matrices by the
// unit's square.
TEST_F(FastStyleRun, InputUnitScalesTheTerms) {
  FastStyleSettings settings = small_fast_settings();
  settings.form = LossForm::mean;
  const FastStyleLosses plain = FastStyle(network_, settings, small_fast_data()).evaluate(small_photos(1));
  settings.input_unit = 4.0;
  const FastStyleLosses scaled = FastStyle(network_, settings, small_fast_data()).evaluate(small_photos(1));
  EXPECT_NEAR(scaled.content * 16.0, plain.content, 1e-5 * plain.content);
  EXPECT_NEAR(scaled.style * 256.0, plain.style, 1e-5 * plain.style);
  EXPECT_EQ(scaled.tv, plain.tv);
}

TEST_F(FastStyleRun, OriginalColorsSeeLuminanceOnly) {
  FastStyleSettings settings = small_fast_settings();
  settings.original_colors = true;
  FastStyleObjective objective(network_, settings, small_fast_data().styles);
  const Tensor picture = small_photos(2);
  const Tensor seen = objective.seen(Variable(picture)).value();
  for (int64_t i = 0; i < picture.count(); i += 3) {
    const float* rgb = picture.data<float>() + i;
    const float luminance = 0.299f * rgb[0] + 0.587f * rgb[1] + 0.114f * rgb[2];
    for (int c = 0; c < 3; ++c) ASSERT_NEAR(seen.data<float>()[i + c], luminance, 1e-3f);
  }
}

struct ResumeCase {
  std::string name;
  layers::TransformNetOptions net;
  int styles = 1;
  float weight_decay = 0.0f;
  double clip_norm = 0.0;
};

class FastStyleResume : public ::testing::TestWithParam<ResumeCase> {
 protected:
  layers::Vgg network_{small_vgg()};
  TemporaryFolder folder_;
};

TEST_P(FastStyleResume, GoesOnBitForBit) {
  FastStyleSettings settings = small_fast_settings();
  settings.net = GetParam().net;
  settings.weight_decay = GetParam().weight_decay;
  settings.clip_norm = GetParam().clip_norm;
  FastStyleData data = small_fast_data(GetParam().styles);
  data.validation = {wavy_picture(32, 40, 5)};
  const FastStyleWatch watch{.validate_every = 2, .patience = 9};
  FastStyle whole(network_, settings, data, watch);
  whole.run();

  FastStyle first(network_, settings, data, watch);
  const FastStyleResult cut = first.run([](const FastStyleProgress& progress) { return progress.step < 3; });
  EXPECT_TRUE(cut.cancelled);
  EXPECT_EQ(cut.steps, 3);
  write_safetensors(folder_ / "state", first.state());
  FastStyle second(network_, settings, data, watch);
  second.load_state(folder_ / "state");
  EXPECT_EQ(second.step(), 3);
  second.run();

  expect_same_net(second.net().state(), whole.net().state());
  ASSERT_EQ(second.history().size(), whole.history().size());
  for (size_t i = 0; i < second.history().size(); ++i) EXPECT_EQ(second.history()[i].total, whole.history()[i].total);
  ASSERT_EQ(second.validations().size(), 3u);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(second.validations()[i].total, whole.validations()[i].total);
}

INSTANTIATE_TEST_SUITE_P(
    Nets, FastStyleResume,
    ::testing::Values(ResumeCase{"plain", {.width = 8, .residual_blocks = 1}},
                      ResumeCase{"fractional_tanh",
                                 {.width = 8,
                                  .residual_blocks = 1,
                                  .upsample = UpsampleKind::fractional,
                                  .output_range = OutputRange::tanh}},
                      ResumeCase{"batch_norm", {.width = 8, .residual_blocks = 0, .norm = NormKind::batch}, 1, 1e-4f},
                      ResumeCase{"three_styles", {.width = 8, .residual_blocks = 1}, 3, 0.0f, 0.01}),
    [](const auto& tested) { return tested.param.name; });

TEST_F(FastStyleRun, SameForEveryNumberOfThreads) {
  std::optional<SafetensorsContent> expected;
  for (const int threads : {1, 2, 5}) {
    const WithThreads scope(threads);
    FastStyleSettings settings = small_fast_settings();
    settings.steps = 2;
    FastStyle training(network_, settings, small_fast_data());
    training.run();
    if (expected) expect_same_net(training.net().state(), *expected);
    expected = training.net().state();
  }
}

TEST_F(FastStyleRun, AStepThatIsNotFiniteChangesNothing) {
  FastStyleSettings settings = small_fast_settings();
  settings.net.norm = NormKind::batch;
  FastStyleData data = small_fast_data();
  data.photos = [](int64_t step) {
    Tensor photos = small_photos(step);
    if (step == 1) photos.data<float>()[5] = std::numeric_limits<float>::quiet_NaN();
    return photos;
  };
  FastStyle training(network_, settings, data);
  std::vector<SafetensorsContent> nets;
  std::vector<std::string> notes;
  training.run([&](const FastStyleProgress& progress) {
    nets.push_back(training.net().state());
    notes.push_back(progress.note);
    return progress.step < 3;
  });
  ASSERT_EQ(notes.size(), 3u);
  EXPECT_TRUE(notes[0].empty());
  EXPECT_NE(notes[1].find("not finite"), std::string::npos);
  EXPECT_TRUE(notes[2].empty());
  expect_same_net(nets[1], nets[0]);
  EXPECT_FALSE(same_bytes(nets[2].tensors[0].second, nets[1].tensors[0].second));
}

TEST_F(FastStyleRun, EndsWhenNothingIsFiniteAnyMore) {
  FastStyleSettings settings = small_fast_settings();
  settings.steps = 100;
  FastStyleData data = small_fast_data();
  data.photos = [](int64_t) { return Tensor::full({2, 32, 32, 3}, std::numeric_limits<float>::infinity()); };
  FastStyle training(network_, settings, data);
  EXPECT_TRUE(throws_error([&] { training.run(); }, "20 steps in a row"));
}

TEST_F(FastStyleRun, ClippingShortensTheGradient) {
  // Adam's first step does not depend on the gradient's length, its second one does.
  FastStyleSettings settings = small_fast_settings();
  settings.steps = 2;
  settings.clip_norm = 1e6;
  FastStyle loose(network_, settings, small_fast_data());
  double norm = 0;
  loose.run([&](const FastStyleProgress& progress) {
    norm = progress.grad_norm;
    return true;
  });
  settings.clip_norm = 0.0;
  FastStyle unclipped(network_, settings, small_fast_data());
  unclipped.run();
  expect_same_net(loose.net().state(), unclipped.net().state());
  settings.clip_norm = 0.9 * norm;
  FastStyle clipped(network_, settings, small_fast_data());
  clipped.run();
  EXPECT_FALSE(same_bytes(clipped.net().state().tensors[0].second, unclipped.net().state().tensors[0].second));
}

TEST_F(FastStyleRun, EndsOnAPlateauWithTheBestNet) {
  FastStyleSettings settings = small_fast_settings();
  settings.steps = 200;
  settings.lr = 1.0f;  // far too large: the held-out loss soon stops falling
  FastStyleData data = small_fast_data();
  data.validation = {wavy_picture(32, 32, 4), wavy_picture(40, 24, 6)};
  FastStyle training(network_, settings, data, {.validate_every = 1, .patience = 3});
  const FastStyleResult result = training.run();
  EXPECT_TRUE(result.plateau);
  EXPECT_LT(result.steps, 200);
  ASSERT_GE(training.validations().size(), 4u);
  double best = std::numeric_limits<double>::infinity(), now = 0;
  for (const FastStyleValidation& validation : training.validations()) best = std::min(best, validation.total);
  for (const Tensor& photo : data.validation) now += 0.5 * training.evaluate(photo).total;
  EXPECT_NEAR(now, best, 1e-6 * best);
}

TEST_F(FastStyleRun, StylesTakeTurns) {
  FastStyleSettings settings = small_fast_settings();
  settings.steps = 1;
  FastStyle training(network_, settings, small_fast_data(2));
  const Tensor photo = wavy_picture(32, 32, 1);
  const Tensor before = training.apply(photo, 1);
  training.run();
  // The second style's own normalisation has not moved, but what both share has.
  const SafetensorsContent net = training.net().state();
  for (const auto& [name, tensor] : net.tensors) {
    if (name != "in1.weight") continue;
    ASSERT_EQ(tensor.shape(), Shape({2, 8}));
    for (int64_t c = 0; c < 8; ++c) {
      EXPECT_NE(tensor.data<float>()[c], 1.0f);
      EXPECT_EQ(tensor.data<float>()[8 + c], 1.0f);
    }
  }
  EXPECT_FALSE(same_bytes(training.apply(photo, 1), before));
}

// Against numbers computed in f64 by another framework, whose losses are those of the form `mean`.
TEST_F(FastStyleRun, ReferenceLosses) {
  const auto net_path = test_data("reference/mosaic_nc16.safetensors"),
             step_path = test_data("reference/train_step_mosaic_nc16.safetensors"), vgg_path = test_data(kVggFile);
  if (net_path.empty() || step_path.empty() || vgg_path.empty()) GTEST_SKIP() << kNoTestData;
  const SafetensorsReader step(step_path);
  FastStyleSettings settings;
  settings.form = LossForm::mean;
  settings.content_layers = {{"relu2_2", 1.0}};
  settings.style_layers = {{"relu1_2", 1.0}, {"relu2_2", 1.0}, {"relu3_3", 1.0}, {"relu4_3", 1.0}};
  settings.beta = 5.0;
  settings.tv = 0.0;
  layers::Vgg vgg = layers::Vgg::load(vgg_path, {.taps = settings.taps()});
  FastStyleObjective objective(vgg, settings, {to_channels_last(step.read("style"))});
  const Tensor photos = to_channels_last(step.read("input"));
  layers::TransformNet net = layers::TransformNet::load(net_path);
  std::vector<FastStyleTerm> terms;
  objective.loss(net(Variable(photos)), objective.targets(photos), 0, 0, terms);
  const FastStyleLosses losses = FastStyleObjective::losses_of(terms);
  const std::vector<double> actual = {losses.total,
                                      losses.content_layers.at("relu2_2"),
                                      losses.style_layers.at("relu1_2"),
                                      losses.style_layers.at("relu2_2"),
                                      losses.style_layers.at("relu3_3"),
                                      losses.style_layers.at("relu4_3")};
  const Tensor expected = step.read("losses");
  for (size_t i = 0; i < actual.size(); ++i)
    EXPECT_NEAR(actual[i] / expected.span<float>()[i], 1.0, 2e-5) << "loss " << i;
}

TEST_F(FastStyleRun, LearningRates) {
  FastStyleSettings settings = small_fast_settings();
  settings.lr = 2.0f;
  settings.steps = 90;
  settings.schedule = LrSchedule::constant;
  EXPECT_EQ(settings.lr_at(0), 2.0f);
  EXPECT_EQ(settings.lr_at(89), 2.0f);
  settings.schedule = LrSchedule::cosine;
  EXPECT_EQ(settings.lr_at(0), 2.0f);
  EXPECT_NEAR(settings.lr_at(45), 1.01f, 1e-5f);
  EXPECT_NEAR(settings.lr_at(90), 0.02f, 1e-5f);
  settings.schedule = LrSchedule::steps;
  EXPECT_EQ(settings.lr_at(29), 2.0f);
  EXPECT_NEAR(settings.lr_at(30), 0.6f, 1e-6f);
  EXPECT_NEAR(settings.lr_at(89), 0.18f, 1e-6f);
  settings.schedule = LrSchedule::constant;
  settings.warm_up = 4;
  EXPECT_EQ(settings.lr_at(0), 0.5f);
  EXPECT_EQ(settings.lr_at(3), 2.0f);
}

TEST_F(FastStyleRun, RefusesWhatDoesNotFit) {
  const auto refused = [&](const auto& change, const std::string& words) {
    FastStyleSettings settings = small_fast_settings();
    FastStyleData data = small_fast_data();
    FastStyleWatch watch;
    change(settings, data, watch);
    EXPECT_TRUE(throws_error([&] { FastStyle(network_, settings, data, watch); }, words));
  };
  refused([](auto& settings, auto&, auto&) { settings.lr = 0; }, "lr is 0");
  refused([](auto& settings, auto&, auto&) { settings.steps = 0; }, "steps is 0");
  refused([](auto& settings, auto&, auto&) { settings.size = 31; }, "size is 31");
  refused([](auto& settings, auto&, auto&) { settings.alpha = settings.beta = settings.tv = 0; }, "nothing to learn");
  refused([](auto& settings, auto&, auto&) { settings.content_layers = {{"relu9_1", 1.0}}; }, "relu9_1");
  refused([](auto& settings, auto&, auto&) { settings.input_unit = -1; }, "input_unit");
  refused([](auto&, auto& data, auto&) { data.styles.clear(); }, "no style picture");
  refused([](auto&, auto& data, auto&) { data.styles = {Tensor::zeros({2, 32, 32, 3})}; }, "[1, height, width, 3]");
  refused([](auto&, auto& data, auto&) { data.photos = nullptr; }, "no source of photos");
  refused([](auto&, auto&, auto& watch) { watch.patience = 2; }, "plateau needs validation photos");
  FastStyleData data = small_fast_data();
  data.photos = [](int64_t) { return small_photos(0, 1); };
  FastStyle training(network_, small_fast_settings(), data);
  EXPECT_TRUE(throws_error([&] { training.run(); }, "they must have [2,32,32,3]"));
  EXPECT_TRUE(throws_error([&] { FastStyleSettings::preset("pretty"); }, "default, paper or pytorch-examples"));
}

TEST_F(FastStyleRun, GoesOnForMoreSteps) {
  FastStyleSettings settings = small_fast_settings();
  settings.schedule = LrSchedule::constant;
  settings.steps = 2;
  FastStyle shorter(network_, settings, small_fast_data());
  shorter.run();
  const std::filesystem::path path = folder_ / "state";
  write_safetensors(path, shorter.state());
  settings.steps = 5;
  FastStyle whole(network_, settings, small_fast_data()), longer(network_, settings, small_fast_data());
  whole.run();
  longer.load_state(path);
  longer.run();
  expect_same_net(longer.net().state(), whole.net().state());

  settings.steps = 1;
  EXPECT_TRUE(throws_error([&] { FastStyle(network_, settings, small_fast_data()).load_state(path); },
                           "has 2 steps behind it, and this run has 1"));
  settings.schedule = LrSchedule::cosine;  // whose rates are those of so many steps
  settings.steps = 2;
  FastStyle falling(network_, settings, small_fast_data());
  write_safetensors(path, falling.state());
  settings.steps = 5;
  EXPECT_TRUE(throws_error([&] { FastStyle(network_, settings, small_fast_data()).load_state(path); },
                           "steps was 2, is now 5"));
}

TEST_F(FastStyleRun, RefusesStatesOfOtherRuns) {
  FastStyle training(network_, small_fast_settings(), small_fast_data());
  training.run([](const FastStyleProgress&) { return false; });
  const std::filesystem::path path = folder_ / "state";
  SafetensorsContent state = training.state();
  write_safetensors(path, state);
  FastStyleSettings other = small_fast_settings();
  other.beta = 6.0;
  EXPECT_TRUE(
      throws_error([&] { FastStyle(network_, other, small_fast_data()).load_state(path); }, "beta was 15, is now 6"));
  FastStyleData painting = small_fast_data();
  painting.styles = {wavy_picture(36, 40, 2)};
  EXPECT_TRUE(throws_error([&] { FastStyle(network_, small_fast_settings(), painting).load_state(path); },
                           "other style pictures"));

  // A state without Adam's moments leaves the run as it was.
  std::erase_if(state.tensors, [](const auto& entry) { return entry.first.starts_with("optimizer.second_moment"); });
  write_safetensors(path, state);
  FastStyle fresh(network_, small_fast_settings(), small_fast_data());
  const SafetensorsContent before = fresh.net().state();
  EXPECT_THROW(fresh.load_state(path), Error);
  expect_same_net(fresh.net().state(), before);
  EXPECT_EQ(fresh.step(), 0);
}

}  // namespace
}  // namespace minidl::test
