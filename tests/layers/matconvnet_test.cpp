#include <minidl/layers/vgg_weights.h>
#include <support/compare.h>
#include <support/matconvnet_bytes.h>
#include <support/temporary_folder.h>
#include <support/test_data.h>

namespace minidl::layers {
namespace {

using Kind = LayerDescription::Kind;
namespace mat = test::mat;

class MatConvNet : public ::testing::Test {
 protected:
  NetworkDescription read(const std::string& bytes, const std::vector<std::string>& until = {}) {
    return read_network(test::write_bytes(folder_ / "network.mat", bytes), until);
  }
  ::testing::AssertionResult rejects(const std::string& bytes, const std::string& words) {
    return test::throws_error([&] { read(bytes); }, words);
  }
  /// A file with these cells of `layers` and a good `meta`.
  static std::string with_cells(const std::vector<std::string>& cells) {
    return mat::file(
        {mat::cell(cells, "layers"), mat::structure({{"normalization", mat::normalization({1, 2, 3}, 1)}}, "meta")},
        false);
  }
  /// A 1 x 1 convolution from 3 channels to 1 whose fields can be replaced, added, or removed (an empty value).
  static std::string conv_cell(const mat::Fields& changes) {
    mat::Fields fields = {{"name", mat::text("conv1_1")},
                          {"type", mat::text("conv")},
                          {"weights", mat::cell({mat::singles({1, 1, 3}, {1, 2, 3}), mat::singles({1, 1}, {4})})},
                          {"pad", mat::doubles({1, 1}, {0})},
                          {"stride", mat::doubles({1, 1}, {1})}};
    for (const auto& [name, value] : changes) {
      std::erase_if(fields, [&name = name](const auto& field) { return field.first == name; });
      if (!value.empty()) fields.emplace_back(name, value);
    }
    return mat::structure(fields);
  }

  test::TemporaryFolder folder_;
};

TEST_F(MatConvNet, ReadsEveryLayout) {
  const NetworkDescription expected = test::small_network();
  for (const char fields : {'a', 'b', 'c', 'd'}) {
    for (int variant = 0; variant < 32; ++variant) {
      const bool old = fields <= 'b';
      const test::MatLayout layout{.fields = fields,
                                   .compress = (variant & 1) != 0,
                                   .byte_numbers = (variant & 2) != 0,
                                   .scalar_window = (variant & 4) != 0,
                                   .flat_bias = (variant & 8) != 0,
                                   .double_weights = (variant & 16) != 0,
                                   .drop_trailing = (variant & 2) == 0,
                                   .old_meta = old,
                                   .mean_side = old ? 224 : 1};
      EXPECT_TRUE(test::same_network(read(test::matconvnet_bytes(expected, layout)), expected))
          << "layout " << fields << ", variant " << variant;
    }
  }
}

TEST_F(MatConvNet, LayersWithoutNamesAreCalledAsInVgg) {
  NetworkDescription network = test::small_network();
  for (const char fields : {'a', 'b', 'c', 'd'}) {
    const NetworkDescription actual = read(test::matconvnet_bytes(network, {.fields = fields, .names = false}));
    EXPECT_TRUE(test::same_network(actual, network)) << fields;
  }
  network = vgg_description(16, true);
  // The same chain with few channels, for speed.
  int64_t channels = 3;
  for (LayerDescription& layer : network.layers) {
    if (layer.kind != Kind::conv) continue;
    layer.in_c = channels;
    layer.out_c = channels = 2;
  }
  fill_random_weights(network, 1);
  EXPECT_TRUE(test::same_network(read(test::matconvnet_bytes(network, {.fields = 'a', .names = false})), network));
}

TEST_F(MatConvNet, LoadsUpToTheDeepestLayerAskedFor) {
  NetworkDescription expected = test::small_network();
  const std::string bytes = test::matconvnet_bytes(expected, {});
  expected.layers[5].weight = expected.layers[5].bias = {};
  EXPECT_TRUE(test::same_network(read(bytes, {"relu2_1", "relu1_1"}), expected));
  expected.layers[3].weight = expected.layers[3].bias = {};
  EXPECT_TRUE(test::same_network(read(bytes, {"conv1_1"}), expected));
  EXPECT_TRUE(test::throws_error([&] { read(bytes, {"relu1_2"}); }, "(did you mean 'relu1_1'?)"));
}

TEST_F(MatConvNet, TakesTheMeanOfTheFile) {
  const std::string layers = mat::cell({conv_cell({})}, "layers");
  const auto with_image = [&](const std::string& image) {
    return mat::file({layers, mat::structure({{"normalization", mat::structure({{"averageImage", image}})}}, "meta")},
                     true);
  };
  // Averaged over the pixels of each plane.
  const NetworkDescription network = read(with_image(mat::doubles({1, 2, 3}, {10, 20, 30, 50, 0, 255})));
  EXPECT_EQ(network.mean, (std::array<float, 3>{15.0f, 40.0f, 127.5f}));
  EXPECT_EQ(read(with_image(mat::singles({3, 1}, {1, 2, 3}))).mean, (std::array<float, 3>{1, 2, 3}));

  EXPECT_TRUE(rejects(with_image(mat::singles({1, 4}, {1, 2, 3, 4})), "averageImage is single 1 x 4"));
  EXPECT_TRUE(rejects(with_image(mat::singles({1, 3}, {1, NAN, 3})), "averageImage has a value that is not finite"));
  EXPECT_TRUE(rejects(with_image(mat::text("grey")), "averageImage is text 1 x 4"));
  EXPECT_TRUE(rejects(mat::file({layers, mat::structure({{"inputs", mat::cell({})}}, "meta")}, false),
                      "no meta.normalization.averageImage"));

  // A file that says nothing about itself is taken for a VGG, and `source` says so.
  const NetworkDescription bare = read(mat::file({layers}, false));
  EXPECT_EQ(bare.mean, NetworkDescription().mean);
  EXPECT_NE(bare.source.find("VGG's is used"), std::string::npos);
}

TEST_F(MatConvNet, SkipsDropoutAndToleratesAMissingBias) {
  const std::string dropout = mat::structure({{"type", mat::text("dropout")}, {"rate", mat::doubles({1, 1}, {0.5})}});
  const std::string filters = mat::singles({1, 1, 3}, {1, 2, 3});
  const NetworkDescription network =
      read(with_cells({conv_cell({{"weights", mat::cell({filters, mat::singles({0, 0}, {})})}}), dropout}));
  ASSERT_EQ(network.layers.size(), 1u);
  EXPECT_TRUE(test::equals(network.layers[0].weight, {1, 2, 3}));
  EXPECT_TRUE(test::equals(network.layers[0].bias, {0}));
}

TEST_F(MatConvNet, SaysWhatIsWrong) {
  const auto scalar = [](double value) { return mat::doubles({1, 1}, {value}); };
  const auto bias = [](int count) { return mat::singles({count, 1}, std::vector<float>(count, 1.0f)); };
  const auto weights = [&](const std::string& filters, const std::string& biases) {
    return conv_cell({{"weights", mat::cell({filters, biases})}});
  };
  const std::string filters = mat::singles({1, 1, 3}, {1, 2, 3});
  const struct {
    std::string cell, words;
  } cases[] = {
      {mat::doubles({1, 1}, {1}), "layers{1} is double 1 x 1, expected struct 1 x 1"},
      {conv_cell({{"type", ""}}), R"(has type "")"},
      {conv_cell({{"type", mat::text("lrn")}}), R"(layers{1} (layer "conv1_1") has type "lrn")"},
      {conv_cell({{"type", scalar(1)}}), "layers{1}.type is double 1 x 1, expected text"},
      {conv_cell({{"weights", ""}}), "convolution without a field 'weights' or 'filters'"},
      {conv_cell({{"weights", filters}}), "layers{1}.weights is single 1 x 1 x 3, expected a cell"},
      {weights(mat::text("abc"), bias(1)), "layers{1}.weights{1} is text 1 x 3"},
      {weights(mat::singles({1, 1, 3, 1, 2}, {1, 2, 3, 4, 5, 6}), bias(1)), "is single 1 x 1 x 3 x 1 x 2"},
      {weights(filters, bias(2)), "layers{1}.weights{2} is single 2 x 1, expected a bias of 1 numbers"},
      {weights(mat::singles({1, 1, 2}, {1, 2}), bias(1)), "layer 'conv1_1' takes 2 channels, but the picture has 3"},
      {weights(mat::singles({1, 1, 3}, {1, NAN, 2}), bias(1)),
       "layers{1}.weights{1} of layer 'conv1_1' has a value that is not finite (nan)"},
      {weights(filters, mat::singles({1, 1}, {INFINITY})),
       "layers{1}.weights{2} of layer 'conv1_1' has a value that is not"},
      {weights(mat::doubles({1, 1, 3}, {1e300, 1, 2}), bias(1)), "not finite (inf)"},
      {conv_cell({{"pad", mat::doubles({1, 3}, {0, 0, 0})}}), "layers{1}.pad is double 1 x 3, expected 1 or 4 numbers"},
      {conv_cell({{"pad", scalar(-1)}}), "padding"},
      {conv_cell({{"pad", scalar(0.5)}}), "layers{1}.pad is 0.5, expected a whole number"},
      {conv_cell({{"pad", scalar(NAN)}}), "expected a whole number"},
      {conv_cell({{"pad", scalar(1e18)}}), "expected a whole number"},
      {conv_cell({{"pad", scalar(100)}}), "padding"},
      {conv_cell({{"stride", scalar(0)}}), "strides of 0 and 0"},
      {conv_cell({{"dilate", scalar(2)}}), "dilated convolution"},
      {conv_cell({{"name", mat::text("a name")}}), "a layer called"},
      {mat::structure({{"type", mat::text("pool")}}), "without a field 'pool'"},
      {mat::structure({{"type", mat::text("pool")}, {"pool", scalar(2)}, {"method", mat::text("lp")}}),
       R"(pools by "lp")"},
      {mat::structure({{"type", mat::text("pool")}, {"pool", scalar(2)}, {"pad", scalar(2)}}),
       "smaller than the window"},
      {mat::structure({{"type", mat::text("relu")}, {"leak", scalar(0.1)}}), "leaky ReLU"},
  };
  for (const auto& [cell, words] : cases) EXPECT_TRUE(rejects(with_cells({cell}), words)) << words;

  EXPECT_TRUE(rejects(with_cells({conv_cell({}), conv_cell({{"name", mat::text("next")}})}),
                      "takes 3 channels, but layer 'conv1_1' has 1"));
  const std::string relu = mat::structure({{"type", mat::text("relu")}, {"name", mat::text("r")}});
  EXPECT_TRUE(rejects(with_cells({relu, relu}), "layer 'r' is there twice"));
  EXPECT_TRUE(rejects(with_cells({}), "has no layers"));
  EXPECT_TRUE(rejects(mat::file({mat::structure({}, "layers")}, true), "layers is struct 1 x 1, expected a cell"));
  EXPECT_TRUE(rejects(mat::file({mat::cell({}, "x"), mat::cell({}, "y")}, true), "without a variable 'layers'"));
  EXPECT_TRUE(rejects(mat::file({mat::cell({}, "x"), mat::cell({}, "y")}, true), "it has: x, y"));
}

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
