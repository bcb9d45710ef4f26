// Whole runs on a CUDA device whose evaluations are repeated from a recording give the same bytes as those that are
// done each time; skipped where there is no device.
#include <minidl/apps/gatys.h>
#include <minidl/core/cuda/backend.h>
#include <minidl/core/profile.h>
#include <support/compare.h>
#include <support/small_gatys.h>

#include <cstdlib>

namespace minidl::test {
namespace {

class RecordedRuns : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { ::setenv("MINIDL_CUDA_CACHING", "1", 1); }  // read at the first allocation
  void SetUp() override {
    if (cuda::device_count() == 0) GTEST_SKIP() << cuda::unavailable_reason();
  }
  void TearDown() override { ::unsetenv("MINIDL_CUDA_GRAPHS"); }

  /// `run` with recordings and without.
  template <typename Run>
  static auto both(const Run& run) {
    ::setenv("MINIDL_CUDA_GRAPHS", "1", 1);
    auto recorded = run();
    ::setenv("MINIDL_CUDA_GRAPHS", "0", 1);
    return std::pair{std::move(recorded), run()};
  }

  static constexpr Device kDevice{Device::Kind::cuda, 0};
};

TEST_F(RecordedRuns, OfAPictureAreTheSame) {
  for (const GatysOptimizer optimizer : {GatysOptimizer::adam, GatysOptimizer::sgd, GatysOptimizer::lbfgs}) {
    for (const bool normalize : {false, true}) {
      const auto [recorded, each_time] = both([&] {
        layers::Vgg network(small_vgg());
        network.to(kDevice);
        GatysSettings settings = small_settings();
        settings.optimizer = optimizer;
        settings.normalize_gradients = normalize;
        settings.tv = 0.5;
        settings.iterations = 5;
        settings.scales = 2;
        return Gatys(network, settings, small_pictures()).run();
      });
      EXPECT_TRUE(same_bytes(recorded.picture, each_time.picture));
      ASSERT_EQ(recorded.history.size(), each_time.history.size());
      for (size_t i = 0; i < recorded.history.size(); ++i)
        EXPECT_EQ(recorded.history[i].total, each_time.history[i].total) << i;
    }
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
  Profile::clear();
  Profile::enable(true);
  for (size_t i = 0; i < gradients.size(); ++i) {
    picture.fill(static_cast<float>(40 * i));
    losses.push_back(objective.evaluate(picture, &gradients[i]).total);
  }
  Profile::enable(false);
  for (const Profile::Row& row : Profile::rows()) {
    if (row.name == "content_loss backward") {
      EXPECT_EQ(row.calls, 2) << "the others are repeated";
    }
  }
  for (size_t i = 0; i < gradients.size(); ++i) {
    Tensor other = Tensor::full(picture.shape(), static_cast<float>(40 * i), kDevice), gradient;
    EXPECT_EQ(objective.evaluate(other, &gradient).total, losses[i]) << i;
    EXPECT_TRUE(same_bytes(gradient.to(Device::cpu()), gradients[i].to(Device::cpu()))) << i;
  }
}

}  // namespace
}  // namespace minidl::test
