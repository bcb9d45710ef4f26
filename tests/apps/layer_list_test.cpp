#include <minidl/apps/common/layer_list.h>
#include <support/compare.h>

#include <fstream>

namespace minidl::apps {
namespace {

using Layers = std::vector<layers::WeightedLayer>;

TEST(LayerList, ReadsWeights) {
  EXPECT_EQ(parse_layer_list("relu1_1:0.2,relu2_1:1e-3,relu3_1:0"),
            (Layers{{"relu1_1", 0.2}, {"relu2_1", 1e-3}, {"relu3_1", 0.0}}));
}

TEST(LayerList, MissingWeightsAreEqualOrTheDefault) {
  EXPECT_EQ(parse_layer_list("a,b"), (Layers{{"a", 0.5}, {"b", 0.5}}));
  EXPECT_EQ(parse_layer_list("a,b:3", 1.0), (Layers{{"a", 1.0}, {"b", 3.0}}));
}

TEST(LayerList, TextReadsBack) {
  const Layers layers{{"relu1_1", 0.1}, {"relu2_1", 1.0 / 3.0}};
  EXPECT_EQ(parse_layer_list(layer_list_text(layers)), layers);
}

TEST(LayerList, RefusesBadLists) {
  for (const char* text : {"", ",", "a,", ",a", ":0.2", "a,,b"}) {
    EXPECT_TRUE(test::throws_error([&] { parse_layer_list(text); }, "must be layers with optional weights")) << text;
  }
  for (const char* text : {"a:", "a:x", "a:-1", "a:nan", "a:inf", "a:0.2:3"}) {
    EXPECT_TRUE(test::throws_error([&] { parse_layer_list(text); }, "the weight of a must be a number of at least 0"))
        << text;
  }
  EXPECT_TRUE(test::throws_error([] { parse_layer_list("a:1,b:1,a:2"); }, "a is named twice"));
}

TEST(WeightedFile, TheLastColonStartsAWeightOnlyBeforeANumber) {
  EXPECT_EQ(parse_weighted_file("style.jpg"), (WeightedFile{"style.jpg", 1.0}));
  EXPECT_EQ(parse_weighted_file("style.jpg:0.5"), (WeightedFile{"style.jpg", 0.5}));
  EXPECT_EQ(parse_weighted_file("a:b.jpg"), (WeightedFile{"a:b.jpg", 1.0}));
  EXPECT_EQ(parse_weighted_file("a:b.jpg:2"), (WeightedFile{"a:b.jpg", 2.0}));
  EXPECT_EQ(parse_weighted_file("a:"), (WeightedFile{"a:", 1.0}));
}

TEST(WeightedFile, AnExistingFileKeepsItsColon) {
  const std::string name = ::testing::TempDir() + "picture:7";
  std::ofstream(name) << "x";
  EXPECT_EQ(parse_weighted_file(name), (WeightedFile{name, 1.0}));
  EXPECT_EQ(parse_weighted_file(name + ":3"), (WeightedFile{name, 3.0}));
  std::filesystem::remove(name);
  EXPECT_EQ(parse_weighted_file(name).weight, 7.0);
}

TEST(WeightedFile, RefusesBadWeightsAndNoName) {
  for (const char* text : {"a.jpg:0", "a.jpg:-1", "a.jpg:nan", "a.jpg:inf", "a.jpg:1e999"}) {
    EXPECT_TRUE(test::throws_error([&] { parse_weighted_file(text); }, "the weight must be a number greater than 0"))
        << text;
  }
  EXPECT_TRUE(test::throws_error([] { parse_weighted_file(""); }, "must be the name of a file"));
  EXPECT_TRUE(test::throws_error([] { parse_weighted_file(":2"); }, "must be the name of a file"));
}

}  // namespace
}  // namespace minidl::apps
