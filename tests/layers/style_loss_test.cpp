#include <minidl/layers/ops.h>
#include <minidl/layers/style_loss.h>
#include <support/compare.h>
#include <support/random_tensors.h>
#include <support/tiny_vgg.h>

namespace minidl::layers {
namespace {

using test::random_uniform;
using test::same_bytes;
using test::throws_error;
using Names = std::vector<std::string>;

class StyleTargetsTest : public ::testing::Test {
 protected:
  Vgg vgg_{test::tiny_vgg()};
  Tensor style_ = random_uniform({1, 12, 20, 3}, 1, 0.0f, 255.0f);
  Tensor picture_ = random_uniform({2, 16, 9, 3}, 2, 0.0f, 255.0f);
};

TEST_F(StyleTargetsTest, NamesAloneHaveEqualWeights) {
  const StyleTargets targets(vgg_, style_, {"relu1_1", "relu2_1"});
  EXPECT_EQ(targets.layers(), (std::vector<WeightedLayer>{{"relu1_1", 0.5}, {"relu2_1", 0.5}}));
  const Tensor features = vgg_(Variable(style_), {"relu2_1"}).at("relu2_1").value();
  EXPECT_TRUE(same_bytes(targets.gram("relu2_1"), ops::gram_per_position(features)));
}

TEST_F(StyleTargetsTest, TheLossIsTheWeightedSumOverTheLayers) {
  const std::vector<WeightedLayer> layers = {{"relu1_1", 0.25}, {"relu2_1", 0.0}, {"relu3_1", 2.0}};
  const StyleTargets targets(vgg_, style_, layers);
  const auto features = vgg_(Variable(picture_), targets.taps());
  double expected = 0.0;
  for (const auto& [name, weight] : layers) {
    const Tensor gram = targets.gram(name);
    expected += weight * static_cast<double>(ops::style_loss(features.at(name), gram).value().item());
  }
  const double loss = targets.loss(features).value().item();
  EXPECT_NEAR(loss, expected, 1e-6 * expected);
  EXPECT_GT(loss, 0.0);
  const auto own = vgg_(Variable(style_), targets.taps());
  EXPECT_EQ(targets.loss(own).value().item(), 0.0f) << "the style picture itself";
}

TEST_F(StyleTargetsTest, TapsNameEachLayerOnce) {
  const StyleTargets targets(vgg_, style_, {"relu1_1", "relu3_1"});
  Names taps = targets.taps({"relu4_2", "relu1_1"});
  std::sort(taps.begin(), taps.end());
  EXPECT_EQ(taps, (Names{"relu1_1", "relu3_1", "relu4_2"}));
}

TEST_F(StyleTargetsTest, NothingIsRecordedForTheTargets) {
  vgg_.freeze();
  Tape tape;
  const TapeScope recording(tape);
  const StyleTargets targets(vgg_, style_, {"relu1_1"});
  EXPECT_EQ(tape.size(), 0u);
}

TEST_F(StyleTargetsTest, ErrorsNameTheLayer) {
  const StyleTargets targets(vgg_, style_, {"relu1_1", "relu3_1"});
  const auto features = vgg_(Variable(picture_), {"relu1_1"});
  EXPECT_TRUE(throws_error([&] { targets.loss(features); }, "the features of layer 'relu3_1' are missing"));
  EXPECT_TRUE(throws_error([&] { targets.gram("relu2_1"); }, "'relu2_1' is not one of the style layers"));
  EXPECT_TRUE(throws_error([&] { StyleTargets(vgg_, style_, Names{}); }, "no style layers"));
  EXPECT_TRUE(throws_error([&] { StyleTargets(vgg_, style_, Names{"relu9_1"}); }, "no layer 'relu9_1'"));
}

}  // namespace
}  // namespace minidl::layers
