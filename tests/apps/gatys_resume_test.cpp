// A run that is saved and goes on is the run that was never interrupted, byte by byte; states of other runs are
// refused.
#include <minidl/apps/gatys.h>
#include <support/compare.h>
#include <support/small_gatys.h>
#include <support/temporary_folder.h>

#include <fstream>

namespace minidl::test {
namespace {

struct ResumeCase {
  std::string name;
  GatysOptimizer optimizer;
  bool normalize = false;
};

/// Two scales of three iterations each, the shorter side above the least of a coarse scale.
GatysSettings two_scales(GatysOptimizer optimizer) {
  GatysSettings settings = small_settings();
  settings.optimizer = optimizer;
  settings.init = GatysInit::noise;
  settings.scales = 2;
  settings.iterations = 3;
  settings.tv = 0.1;
  return settings;
}

GatysPictures pictures_for_two_scales() {
  return {.content = wavy_picture(92, 96, 1), .styles = {{wavy_picture(96, 92, 3)}}, .init = {}};
}

class GatysResume : public ::testing::TestWithParam<ResumeCase> {
 protected:
  /// Runs until `iterations` of the whole run are done and saves the state.
  void save_after(int iterations, const GatysSettings& settings, const std::filesystem::path& path) {
    Gatys gatys(network_, settings, pictures_for_two_scales());
    gatys.run([&](const GatysProgress& progress) { return progress.iteration < iterations; });
    write_safetensors(path, gatys.state());
  }

  layers::Vgg network_{small_vgg()};
  TemporaryFolder folder_;
};

void expect_same(const GatysResult& actual, const GatysResult& expected) {
  EXPECT_TRUE(same_bytes(actual.picture, expected.picture));
  EXPECT_EQ(actual.iterations, expected.iterations);
  EXPECT_EQ(actual.losses.total, expected.losses.total);
  EXPECT_EQ(actual.grad_norm, expected.grad_norm);
  ASSERT_EQ(actual.history.size(), expected.history.size());
  for (size_t i = 0; i < actual.history.size(); ++i) {
    const GatysPoint &a = actual.history[i], &b = expected.history[i];
    EXPECT_EQ(a.iteration, b.iteration);
    EXPECT_EQ(a.evaluations, b.evaluations);
    EXPECT_EQ(a.total, b.total) << "iteration " << a.iteration;
    EXPECT_EQ(a.content, b.content);
    EXPECT_EQ(a.style, b.style);
    EXPECT_EQ(a.tv, b.tv);
  }
}

TEST_P(GatysResume, GoesOnBitForBit) {
  GatysSettings settings = two_scales(GetParam().optimizer);
  settings.normalize_gradients = GetParam().normalize;
  Gatys whole(network_, settings, pictures_for_two_scales());
  ASSERT_EQ(whole.scale_sizes().size(), 2u);
  const GatysResult expected = whole.run();
  ASSERT_EQ(expected.iterations, 6);
  for (const int stop : {1, 3, 4, 6}) {  // inside a scale, at its end, after the boundary, at the end of all
    SCOPED_TRACE("stopped after " + std::to_string(stop));
    save_after(stop, settings, folder_ / "state.safetensors");
    Gatys again(network_, settings, pictures_for_two_scales());
    again.load_state(folder_ / "state.safetensors");
    expect_same(again.run(), expected);
  }
}

TEST_P(GatysResume, TheSameObjectGoesOnAfterACancel) {
  const GatysSettings settings = two_scales(GetParam().optimizer);
  const GatysResult expected = Gatys(network_, settings, pictures_for_two_scales()).run();
  Gatys gatys(network_, settings, pictures_for_two_scales());
  gatys.run([](const GatysProgress& progress) { return progress.iteration != 2; });
  expect_same(gatys.run(), expected);
}

INSTANTIATE_TEST_SUITE_P(Optimisers, GatysResume,
                         ::testing::Values(ResumeCase{"lbfgs", GatysOptimizer::lbfgs},
                                           ResumeCase{"lbfgs_normalized", GatysOptimizer::lbfgs, true},
                                           ResumeCase{"adam", GatysOptimizer::adam},
                                           ResumeCase{"adam_normalized", GatysOptimizer::adam, true},
                                           ResumeCase{"sgd", GatysOptimizer::sgd},
                                           ResumeCase{"sgd_normalized", GatysOptimizer::sgd, true}),
                         [](const auto& tested) { return tested.param.name; });

class GatysState : public ::testing::Test {
 protected:
  void SetUp() override {
    settings_.iterations = 6;
    Gatys gatys(network_, settings_, small_pictures());
    gatys.run([](const GatysProgress& progress) { return progress.iteration < 2; });
    good_ = gatys.state();
    write_safetensors(folder_ / "good.safetensors", good_);
  }
  ::testing::AssertionResult refused(const std::filesystem::path& path, const std::string& words) {
    Gatys gatys(network_, settings_, small_pictures());
    const ::testing::AssertionResult result = throws_error([&] { gatys.load_state(path); }, words);
    if (!result) return result;
    // Still usable: from the beginning, and with the right state.
    if (!same_bytes(gatys.run().picture, Gatys(network_, settings_, small_pictures()).run().picture)) {
      return ::testing::AssertionFailure() << "after the refusal a run gives another picture";
    }
    return ::testing::AssertionSuccess();
  }
  ::testing::AssertionResult refused_without(const std::string& tensor, const std::string& words) {
    SafetensorsContent content = good_;
    std::erase_if(content.tensors, [&](const auto& named) { return named.first == tensor; });
    EXPECT_EQ(content.tensors.size() + 1, good_.tensors.size()) << tensor;
    write_safetensors(folder_ / "bad.safetensors", content);
    return refused(folder_ / "bad.safetensors", words);
  }
  ::testing::AssertionResult refused_with(const std::string& tensor, const Tensor& value, const std::string& words) {
    SafetensorsContent content = good_;
    for (auto& [name, old] : content.tensors) {
      if (name == tensor) old = value;
    }
    write_safetensors(folder_ / "bad.safetensors", content);
    return refused(folder_ / "bad.safetensors", words);
  }

  layers::Vgg network_{small_vgg()};
  TemporaryFolder folder_;
  GatysSettings settings_ = small_settings();
  SafetensorsContent good_;
};

TEST_F(GatysState, OfOtherPictures) {
  GatysPictures other = small_pictures();
  other.content.data<float>()[7] += 1.0f;
  Gatys content(network_, settings_, other);
  EXPECT_TRUE(throws_error([&] { content.load_state(folder_ / "good.safetensors"); }, "other content"));
  other = small_pictures();
  other.styles[0].weight = 2.0;
  Gatys style(network_, settings_, other);
  EXPECT_TRUE(throws_error([&] { style.load_state(folder_ / "good.safetensors"); }, "other content, style"));
}

TEST_F(GatysState, OfOtherSettings) {
  GatysSettings other = settings_;
  other.beta = 3.5;
  Gatys gatys(network_, other, small_pictures());
  EXPECT_TRUE(throws_error([&] { gatys.load_state(folder_ / "good.safetensors"); }, "is now 3.5"));
}

TEST_F(GatysState, MayBeExtended) {
  GatysSettings longer = settings_;
  longer.iterations = 8;
  Gatys gatys(network_, longer, small_pictures());
  gatys.load_state(folder_ / "good.safetensors");
  EXPECT_TRUE(same_bytes(gatys.run().picture, Gatys(network_, longer, small_pictures()).run().picture));
}

TEST_F(GatysState, Damaged) {
  const std::string bytes = read_bytes(folder_ / "good.safetensors");
  EXPECT_TRUE(refused(write_bytes(folder_ / "short.safetensors", bytes.substr(0, bytes.size() / 2)), "short"));
  EXPECT_TRUE(refused(write_bytes(folder_ / "empty.safetensors", ""), "empty"));
  EXPECT_TRUE(refused(folder_ / "missing.safetensors", "missing"));
}

TEST_F(GatysState, Foreign) {
  write_safetensors(folder_ / "foreign.safetensors", {.tensors = {{"x", Tensor::zeros({3})}}, .metadata = {}});
  EXPECT_TRUE(refused(folder_ / "foreign.safetensors", "not a state file"));
}

TEST_F(GatysState, Incomplete) {
  for (const char* tensor : {"picture", "position", "history", "factors", "optimizer.gradient", "optimizer.scalars"}) {
    const std::string name = tensor;
    EXPECT_TRUE(refused_without(name, name.substr(name.find('.') + 1))) << name;
  }
}

TEST_F(GatysState, WithValuesThatMakeNoSense) {
  const auto position = [](std::vector<double> values) {
    Tensor tensor = Tensor::empty({static_cast<int64_t>(values.size())}, Dtype::f64);
    std::copy(values.begin(), values.end(), tensor.data<double>());
    return tensor;
  };
  EXPECT_TRUE(refused_with("position", position({1, 0, 0, 0}), "position"));
  EXPECT_TRUE(refused_with("position", position({0, -1, 0, 0}), "position"));
  EXPECT_TRUE(refused_with("position", position({0, 1e300, 0, 0}), "position"));
  EXPECT_TRUE(refused_with("position", position({NAN, 0, 0, 0}), "position"));
  EXPECT_TRUE(refused_with("position", position({0, 0}), "position"));
  EXPECT_TRUE(refused_with("position", Tensor::zeros({4}), "position"));
  EXPECT_TRUE(refused_with("history", position({1, 2}), "history"));
  EXPECT_TRUE(refused_with("factors", position({1}), "factors"));
  EXPECT_TRUE(refused_with("picture", Tensor::zeros({1, 5, 5, 3}), "picture"));
  EXPECT_TRUE(refused_with("picture", Tensor::full(small_pictures().content.shape(), NAN), "picture"));
  EXPECT_TRUE(refused_with("optimizer.gradient", Tensor::zeros({1, 5, 5, 3}), "gradient"));
}

TEST_F(GatysState, NothingToSaveBeforeTheStart) {
  EXPECT_TRUE(throws_error([&] { Gatys(network_, settings_, small_pictures()).state(); }, "nothing to save"));
}

}  // namespace
}  // namespace minidl::test
