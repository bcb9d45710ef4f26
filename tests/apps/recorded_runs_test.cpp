// Whole runs on a CUDA device whose evaluations are repeated from a recording give the same bytes as those that are
// done each time; skipped where there is no device.
#include <minidl/apps/fast_style.h>
#include <minidl/apps/gatys.h>
#include <minidl/core/cuda/backend.h>
#include <minidl/core/profile.h>
#include <minidl/kernels/precision_scope.h>
#include <support/compare.h>
#include <support/device.h>
#include <support/sanitizer.h>
#include <support/small_fast_style.h>

#include <cstdlib>
#include <limits>
#include <tuple>

namespace minidl::test {
namespace {

class RecordedRuns : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { ::setenv("MINIDL_CUDA_CACHING", "1", 1); }  // read at the first allocation
  void SetUp() override {
    if (on_cpu()) GTEST_SKIP() << "needs a device: MINIDL_TEST_DEVICE=cuda";
  }
  void TearDown() override { ::unsetenv("MINIDL_CUDA_GRAPHS"); }

  /// How often content_loss was differentiated while `work` ran: not when it was repeated.
  template <typename Work>
  static int64_t backward_passes(const Work& work) {
    Profile::clear();
    Profile::enable(true);
    work();
    Profile::enable(false);
    int64_t calls = 0;
    for (const Profile::Row& row : Profile::rows()) calls += row.name == "content_loss backward" ? row.calls : 0;
    return calls;
  }

  /// `run` with recordings and without.
  template <typename Run>
  static auto both(const Run& run) {
    ::setenv("MINIDL_CUDA_GRAPHS", "1", 1);
    auto recorded = run();
    ::setenv("MINIDL_CUDA_GRAPHS", "0", 1);
    return std::pair{std::move(recorded), run()};
  }

  static constexpr Device kDevice{Device::Kind::cuda, 0};
  /// Iterations or steps of a run, of which all but two are repeated.
  static constexpr int kSteps = kUnderSanitizer ? 3 : 5;
};

TEST_F(RecordedRuns, OfAPictureAreTheSame) {
  for (const auto& [optimizer, normalize] :
       {std::pair{GatysOptimizer::adam, false}, {GatysOptimizer::sgd, true}, {GatysOptimizer::lbfgs, true}}) {
    const auto [recorded, each_time] = both([&, o = optimizer, n = normalize] {
      layers::Vgg network(small_vgg());
      network.to(kDevice);
      GatysSettings settings = small_settings();
      settings.optimizer = o;
      settings.normalize_gradients = n;
      settings.tv = 0.5;
      settings.iterations = kSteps;
      settings.scales = 2;
      return Gatys(network, settings, small_pictures()).run();
    });
    EXPECT_TRUE(same_bytes(recorded.picture, each_time.picture));
    ASSERT_EQ(recorded.history.size(), each_time.history.size());
    for (size_t i = 0; i < recorded.history.size(); ++i)
      EXPECT_EQ(recorded.history[i].total, each_time.history[i].total) << i;
  }
}

/// With channels in eights, of which convolutions leave operands of 16 bits for each other.
TEST_F(RecordedRuns, OfAPictureIn16BitsAreTheSame) {
  for (const Precision precision : {Precision::bf16, Precision::fp16}) {
    const execution::PrecisionScope scope(precision);
    const auto [recorded, each_time] = both([&] {
      layers::Vgg network(tiny_vgg({2, 2}, 8));
      network.to(kDevice);
      GatysSettings settings = small_settings();
      settings.content_layers = {{"relu2_2", 1.0}};
      settings.style_layers = {{"relu1_1", 0.5}, {"relu2_1", 0.5}};
      settings.iterations = kSteps;
      return Gatys(network, settings, small_pictures()).run();
    });
    EXPECT_TRUE(same_bytes(recorded.picture, each_time.picture)) << to_string(precision);
    ASSERT_EQ(recorded.history.size(), each_time.history.size());
    for (size_t i = 0; i < recorded.history.size(); ++i)
      EXPECT_EQ(recorded.history[i].total, each_time.history[i].total) << i;
  }
}

TEST_F(RecordedRuns, OfATrainingAreTheSame) {
  struct Case {
    LossForm form;
    layers::NormKind norm;
    Precision precision = Precision::fp32;
  };
  std::vector<Case> cases = {{LossForm::mean, layers::NormKind::instance, Precision::bf16},
                             {LossForm::relative, layers::NormKind::batch, Precision::fp16}};
  if (!kUnderSanitizer) {
    cases.push_back({LossForm::relative, layers::NormKind::batch});
    cases.push_back({LossForm::mean, layers::NormKind::instance});
  }
  for (const Case& tested : cases) {
    const execution::PrecisionScope scope(tested.precision);
    const bool has_scale = tested.precision == Precision::fp16;
    std::vector<int64_t> passes;
    const auto [recorded, each_time] = both([&] {
      layers::Vgg network(small_vgg());
      network.to(kDevice);
      FastStyleSettings settings = small_fast_settings();
      settings.form = tested.form;
      settings.net.norm = tested.norm;
      settings.steps = kSteps;
      settings.batch = 1;
      settings.clip_norm = 1.0;
      FastStyleData data;
      data.styles = {wavy_picture(40, 40, 9)};
      data.photos = [&](int64_t step) { return small_photos(step, settings.batch, settings.size); };
      FastStyle training(network, settings, data);
      std::vector<double> numbers;
      passes.push_back(backward_passes([&] {
        training.run([&](const FastStyleProgress& progress) {
          numbers.insert(numbers.end(), {progress.losses.total, progress.losses.content, progress.grad_norm});
          return true;
        });
      }));
      return std::pair{numbers, training.apply(wavy_picture(20, 16, 2))};
    });
    // Each step has one, and the choice of a scale another.
    EXPECT_EQ(passes[0], 2 + has_scale) << "two steps were done";
    EXPECT_EQ(passes[1], kSteps + has_scale);
    EXPECT_EQ(recorded.first, each_time.first);
    EXPECT_TRUE(same_bytes(recorded.second, each_time.second));
  }
}

TEST_F(RecordedRuns, OfATrainingWhoseFirstStepsChangeNothingAreTheSame) {
  // Weights that stay the same between steps may be kept in other forms, which must not become part of a recording.
  for (const int64_t bad_steps : kUnderSanitizer ? std::vector<int64_t>{2} : std::vector<int64_t>{1, 2}) {
    const auto [recorded, each_time] = both([&] {
      layers::Vgg network(small_vgg());
      network.to(kDevice);
      FastStyleSettings settings = small_fast_settings();
      settings.steps = 4;
      settings.micro_batch = 1;
      FastStyleData data;
      data.styles = {wavy_picture(40, 40, 9)};
      data.photos = [&](int64_t step) {
        Tensor photos = small_photos(step, settings.batch, settings.size);
        if (step < bad_steps) photos.fill(std::numeric_limits<float>::quiet_NaN());
        return photos;
      };
      FastStyle training(network, settings, data);
      training.run();
      return training.apply(wavy_picture(20, 16, 2));
    });
    EXPECT_TRUE(same_bytes(recorded, each_time)) << bad_steps;
  }
}

TEST_F(RecordedRuns, AnEvaluationLeavesEarlierGradientsAlone) {
  layers::Vgg network(small_vgg());
  network.to(kDevice);
  const GatysPictures pictures = small_pictures();
  GatysObjective objective(network, small_settings(), pictures.content, pictures.styles);
  Tensor picture = pictures.content.to(kDevice);
  std::vector<Tensor> gradients(5);
  std::vector<double> losses;
  const int64_t passes = backward_passes([&] {
    for (size_t i = 0; i < gradients.size(); ++i) {
      picture.fill(static_cast<float>(40 * i));
      losses.push_back(objective.evaluate(picture, &gradients[i]).total);
    }
  });
  EXPECT_EQ(passes, 2) << "the others are repeated";
  for (size_t i = 0; i < gradients.size(); ++i) {
    Tensor other = Tensor::full(picture.shape(), static_cast<float>(40 * i), kDevice), gradient;
    EXPECT_EQ(objective.evaluate(other, &gradient).total, losses[i]) << i;
    EXPECT_TRUE(same_bytes(gradient.to(Device::cpu()), gradients[i].to(Device::cpu()))) << i;
  }
}

}  // namespace
}  // namespace minidl::test
