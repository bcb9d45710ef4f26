#include <minidl/layers/vgg_weights.h>
#include <support/compare.h>
#include <support/test_data.h>

namespace minidl::layers {
namespace {

using Kind = LayerDescription::Kind;

TEST(MatConvNetRealFile, HasTheChainAndTheCheckValues) {
  const auto path = test::test_data(test::kVggFile);
  if (path.empty()) GTEST_SKIP() << test::kNoTestData;
  const NetworkDescription network = read_network(path);
  const NetworkDescription expected = vgg_description(19, false);
  ASSERT_EQ(network.layers.size(), expected.layers.size());
  for (size_t i = 0; i < expected.layers.size(); ++i) {
    const LayerDescription &layer = network.layers[i], &wanted = expected.layers[i];
    EXPECT_EQ(layer.name, wanted.name);
    EXPECT_EQ(layer.kind, wanted.kind) << layer.name;
    EXPECT_EQ(layer.window.padding, wanted.window.padding) << layer.name;
    EXPECT_EQ(layer.window.stride_h, wanted.window.stride_h) << layer.name;
    EXPECT_EQ(layer.window.stride_w, wanted.window.stride_w) << layer.name;
    EXPECT_EQ(layer.k_h, wanted.k_h) << layer.name;
    EXPECT_EQ(layer.k_w, wanted.k_w) << layer.name;
    if (wanted.kind != Kind::conv) continue;
    EXPECT_EQ(layer.weight.shape(), Shape({wanted.out_c, 3, 3, wanted.in_c})) << layer.name;
    EXPECT_EQ(layer.bias.shape(), Shape({wanted.out_c})) << layer.name;
  }
  EXPECT_EQ(network.mean, (std::array<float, 3>{123.68f, 116.779f, 103.939f}));
  EXPECT_TRUE(network.class_names.empty() || network.class_names.size() == 1000);

  // F[h, w, c, k] of conv1_1, as published.
  const Tensor weight = network.layers[0].weight;
  const auto filter = [&](int h, int w, int c, int k) { return weight.data<float>()[((k * 3 + h) * 3 + w) * 3 + c]; };
  EXPECT_FLOAT_EQ(filter(0, 0, 0, 0), 0.39416704f);
  EXPECT_FLOAT_EQ(filter(0, 0, 0, 1), -0.08419707f);
  EXPECT_FLOAT_EQ(filter(0, 0, 0, 2), -0.03631314f);
  EXPECT_FLOAT_EQ(filter(0, 1, 0, 0), 0.37740308f);
  EXPECT_FLOAT_EQ(filter(1, 0, 0, 0), 0.2671299f);
  EXPECT_FLOAT_EQ(filter(2, 2, 2, 63), -0.27096185f);
  const Tensor bias = network.layers[0].bias;
  EXPECT_FLOAT_EQ(bias.data<float>()[0], 0.73017758f);
  EXPECT_FLOAT_EQ(bias.data<float>()[1], 0.06493629f);
  EXPECT_FLOAT_EQ(bias.data<float>()[2], 0.03428847f);
}

TEST(MatConvNetRealFile, LoadsOnlyWhatIsAskedFor) {
  const auto path = test::test_data(test::kVggFile);
  if (path.empty()) GTEST_SKIP() << test::kNoTestData;
  const NetworkDescription network = read_network(path, {"relu2_1", "relu1_1"});
  for (const LayerDescription& layer : network.layers) {
    if (layer.kind != Kind::conv) continue;
    EXPECT_EQ(static_cast<bool>(layer.weight), layer.name <= "conv2_1") << layer.name;
  }
  EXPECT_TRUE(test::throws_error([&] { read_network(path, {"relu9_1"}); }, "has no layer 'relu9_1'"));
}

}  // namespace
}  // namespace minidl::layers
