#include <minidl/layers/network_description.h>
#include <support/compare.h>

namespace minidl::layers {
namespace {

using Kind = LayerDescription::Kind;

TEST(VggDescription, HasTheLayersOfThePaper) {
  const struct {
    int depth;
    size_t layers, convolutions;
    int64_t parameters;  // Simonyan & Zisserman 2014, table 2, in exact numbers
  } cases[] = {{16, 37, 16, 138357544}, {19, 43, 19, 143667240}};
  for (const auto& [depth, layers, convolutions, parameters] : cases) {
    const NetworkDescription network = vgg_description(depth, true);
    EXPECT_EQ(network.layers.size(), layers);
    size_t found = 0;
    int64_t count = 0, channels = 3;
    for (const LayerDescription& layer : network.layers) {
      if (layer.kind != Kind::conv) continue;
      EXPECT_EQ(layer.in_c, channels) << layer.name;
      EXPECT_FALSE(layer.weight);
      channels = layer.out_c;
      count += layer.out_c * (layer.k_h * layer.k_w * layer.in_c + 1);
      ++found;
    }
    EXPECT_EQ(found, convolutions);
    EXPECT_EQ(count, parameters);
    EXPECT_EQ(network.layers.back().name, "prob");
    EXPECT_EQ(vgg_description(depth, false).layers.back().name, "pool5");
  }
  EXPECT_TRUE(test::throws_error([] { vgg_description(11, false); }, "depth is 11"));
}

TEST(VggDescription, PlacesLayersWhereThePublishedFileHasThem) {
  const NetworkDescription network = vgg_description(19, true);
  size_t next = 0;
  const size_t positions[] = {0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34, 37, 39, 41};
  for (size_t i = 0; i < network.layers.size(); ++i) {
    if (network.layers[i].kind != Kind::conv) continue;
    EXPECT_EQ(i, positions[next++]) << network.layers[i].name;
  }
  EXPECT_EQ(network.layers[network.index_of("relu4_2")].kind, Kind::relu);
  EXPECT_EQ(network.index_of("conv1_1"), 0u);
  EXPECT_EQ(network.index_of("prob"), 42u);
}

TEST(NetworkDescription, NamesTheNearestLayer) {
  const NetworkDescription network = vgg_description(19, false);
  EXPECT_TRUE(test::throws_error([&] { network.index_of("relu4-2"); }, "did you mean 'relu4_2'?"));
  EXPECT_TRUE(test::throws_error([&] { network.index_of("relu4-2"); }, "conv1_1, relu1_1, conv1_2"));
}

TEST(NetworkDescription, ConvolutionsTakeOverWhatFollows) {
  NetworkDescription network = vgg_description(19, true);
  const auto end = [&](const std::string& first, const std::vector<std::string>& taps) {
    return network.layers[network.fused_until(network.index_of(first), taps)].name;
  };
  EXPECT_EQ(end("conv1_1", {"relu5_1"}), "relu1_1");
  EXPECT_EQ(end("conv1_1", {"conv1_1", "relu5_1"}), "conv1_1");
  EXPECT_EQ(end("conv1_2", {"relu5_1"}), "pool1");
  EXPECT_EQ(end("conv1_2", {"pool1"}), "pool1");
  EXPECT_EQ(end("conv1_2", {"relu1_2", "relu5_1"}), "relu1_2");
  EXPECT_EQ(end("pool1", {"relu5_1"}), "pool1");
  EXPECT_EQ(end("relu1_1", {"relu5_1"}), "relu1_1");
  EXPECT_EQ(end("fc8", {"prob"}), "fc8");
  network.layers[network.index_of("pool1")].k_h = 3;
  EXPECT_EQ(end("conv1_2", {"relu5_1"}), "relu1_2");
}

TEST(FillRandomWeights, IsSeededAndKeepsTheVariance) {
  NetworkDescription network = vgg_description(16, false), again = vgg_description(16, false);
  const Tensor given = Tensor::full({64, 3, 3, 3}, 0.5f);
  again.layers[0].weight = given;
  fill_random_weights(network, 7);
  fill_random_weights(again, 7);
  EXPECT_TRUE(test::same_bytes(again.layers[0].weight, given));
  for (const LayerDescription& layer : network.layers) {
    if (layer.kind != Kind::conv) continue;
    double squares = 0.0;
    for (const double value : test::to_doubles(layer.weight)) squares += value * value;
    const double expected = 2.0 / static_cast<double>(layer.k_h * layer.k_w * layer.in_c);
    EXPECT_NEAR(squares / static_cast<double>(layer.weight.count()), expected, 0.1 * expected) << layer.name;
    EXPECT_TRUE(test::equals(layer.bias, std::vector<double>(layer.out_c, 0.0)));
    if (layer.name != "conv1_1") {
      EXPECT_TRUE(test::same_bytes(layer.weight, again.layers[again.index_of(layer.name)].weight));
    }
  }
  fill_random_weights(again = vgg_description(16, false), 8);
  EXPECT_FALSE(test::same_bytes(network.layers[2].weight, again.layers[2].weight));
}

}  // namespace
}  // namespace minidl::layers
