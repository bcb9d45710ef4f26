// A normalised network: the same features but for powers of two, whatever the chain is made of.
#include <minidl/kernels/reduce.h>
#include <minidl/layers/ops.h>
#include <minidl/layers/student.h>
#include <minidl/layers/vgg.h>
#include <support/compare.h>
#include <support/random_tensors.h>
#include <support/tiny_vgg.h>

#include <cmath>
#include <limits>

namespace minidl::layers {
namespace {

using test::random_uniform;
using test::same_bytes;
using test::throws_error;
using Kind = LayerDescription::Kind;
using Names = std::vector<std::string>;

Tensor picture(int64_t h, int64_t w, uint64_t seed = 5) {
  return random_uniform({1, h, w, 3}, seed, 0.0f, 255.0f);
}

/// With biases, and values far from what fp16 has: the first convolution's are large, those of the third small.
NetworkDescription wild_network() {
  NetworkDescription network = test::tiny_vgg({2, 2, 1});
  uint64_t seed = 20;
  for (LayerDescription& layer : network.layers) {
    if (layer.kind != Kind::conv) continue;
    layer.bias = random_uniform({layer.out_c}, ++seed, -3.0f, 3.0f);
    const float factor = layer.name == "conv1_1" ? 3000.0f : layer.name == "conv2_1" ? 3e-9f : 1.0f;
    for (float& value : layer.weight.span<float>()) value *= factor;
  }
  return network;
}

Tensor divided(const Tensor& x, double scale) {
  Tensor result = x.clone();
  for (float& value : result.span<float>()) value = static_cast<float>(value / scale);
  return result;
}

TEST(VggNormalize, ChangesFeaturesByPowersOfTwoAlone) {
  for (const PoolKind pooling : {PoolKind::max, PoolKind::average}) {
    const NetworkDescription network = wild_network();
    Vgg plain(network), normalized(network);
    plain.set_pooling(pooling);
    normalized.set_pooling(pooling);
    const std::vector<Tensor> pictures = {picture(17, 20), picture(24, 16, 6)};
    normalized.normalize(pictures, Names{"relu2_2"});
    const Names names = plain.layer_names();
    std::map<std::string, float> largest;
    for (const Tensor& x : pictures) {
      const auto expected = plain(Variable(x), names), actual = normalized(Variable(x), names);
      for (const std::string& name : names) {
        const double scale = normalized.feature_scale(name);
        EXPECT_EQ(std::exp2(std::ilogb(scale)), scale) << name;
        EXPECT_TRUE(same_bytes(divided(actual.at(name).value(), scale), expected.at(name).value())) << name;
        largest[name] = std::max(largest[name], max_abs(actual.at(name).value()));
      }
    }
    for (const char* name : {"conv1_1", "conv1_2", "conv2_1", "conv2_2"}) {
      EXPECT_GE(largest.at(name), 64.0f) << name;
      EXPECT_LT(largest.at(name), 128.0f) << name;
    }
    EXPECT_LT(normalized.feature_scale("conv1_1"), 1.0);
    EXPECT_NE(normalized.feature_scale("relu2_2"), 1.0);
    EXPECT_EQ(normalized.feature_scale("pool1"), normalized.feature_scale("conv1_2"));
    EXPECT_EQ(normalized.feature_scale("relu3_1"), 1.0) << "behind the deepest tap";
    EXPECT_EQ(plain.feature_scale("relu2_2"), 1.0);
  }
}

TEST(VggNormalize, LeavesTheGradientOfALossAsItIs) {
  Vgg plain(wild_network()), normalized(wild_network());
  const std::vector<Tensor> pictures = {picture(16, 16)};
  normalized.normalize(pictures, Names{"relu2_1"});
  const auto gradient = [&](Vgg& network) {
    network.freeze();
    const Variable image(pictures[0], true);
    const double scale = network.feature_scale("relu2_1");
    Tape tape;
    Variable loss;
    {
      const TapeScope recording(tape);
      const Variable features = network(image, {"relu2_1"}).at("relu2_1");
      loss = ops::content_loss(features, Tensor::zeros(features.shape()), static_cast<float>(1.0 / (scale * scale)));
    }
    tape.backward(loss);
    return image.grad();
  };
  EXPECT_TRUE(same_bytes(gradient(normalized), gradient(plain)));
}

TEST(VggNormalize, OnceMoreGivesTheSame) {
  Vgg once(wild_network()), again(wild_network());
  const std::vector<Tensor> pictures = {picture(16, 16)}, dark = {divided(picture(16, 16), 1e6)};
  once.normalize(pictures, Names{"relu3_1"});
  again.normalize(dark, Names{"relu2_1"});
  again.normalize(pictures, Names{"relu3_1"});
  const auto expected = once.named_parameters(), actual = again.named_parameters();
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_TRUE(same_bytes(actual[i].second.value(), expected[i].second.value())) << expected[i].first;
}

TEST(VggNormalize, StudentsProjectWhatIsNormalized) {
  NetworkDescription network = student_description({.widths = {3, 4, 1, 1, 1}, .convolutions = {1, 1, 1, 1, 1}});
  fill_random_weights(network, 2);
  for (LayerDescription& layer : network.layers) {
    if (layer.name != "relu1_1" && layer.name != "relu2_1") continue;
    layer.imitated_c = 9;
    layer.projection = projection_of(random_uniform({9, 1, 1, layer.name == "relu1_1" ? 3 : 4}, 7), 1.5);
  }
  Vgg plain(network), normalized(network);
  const std::vector<Tensor> pictures = {picture(16, 18)};
  const Names taps = {"relu1_1", "relu2_1"};
  normalized.normalize(pictures, taps);
  const auto expected = plain(Variable(pictures[0]), taps), actual = normalized(Variable(pictures[0]), taps);
  for (const std::string& tap : taps) {
    EXPECT_NE(normalized.feature_scale(tap), 1.0);
    EXPECT_TRUE(same_bytes(divided(actual.at(tap).value(), normalized.feature_scale(tap)), expected.at(tap).value()));
  }
}

TEST(VggNormalize, ALayerOfZerosStaysOne) {
  NetworkDescription network = test::tiny_vgg({1, 1});
  network.layers[0].weight = Tensor::zeros(network.layers[0].weight.shape());
  Vgg vgg(network);
  vgg.normalize(std::vector<Tensor>{picture(8, 8)}, Names{"relu2_1"});
  EXPECT_EQ(max_abs(vgg(Variable(picture(8, 8)), {"relu2_1"}).at("relu2_1").value()), 0.0f);
}

TEST(VggNormalize, SaysWhatItCannotDo) {
  NetworkDescription network = test::tiny_vgg({1});
  network.layers.push_back({.kind = Kind::softmax, .name = "prob"});
  Vgg with_softmax(network);
  const std::vector<Tensor> pictures = {picture(8, 8)};
  EXPECT_TRUE(throws_error([&] { with_softmax.normalize(pictures, Names{"prob"}); }, "'prob' of 'tiny' is a softmax"));
  with_softmax.normalize(pictures, Names{"relu1_1"});
  EXPECT_THROW(with_softmax.normalize(std::vector<Tensor>{Tensor::empty({1, 8, 8, 1})}, Names{"relu1_1"}), Error);
  const std::vector<Tensor> bad = {Tensor::full({1, 8, 8, 3}, std::numeric_limits<float>::infinity(), Device::cpu())};
  EXPECT_TRUE(throws_error([&] { with_softmax.normalize(bad, Names{"relu1_1"}); }, "conv1_1"));
}

}  // namespace
}  // namespace minidl::layers
