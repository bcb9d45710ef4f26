#include <minidl/core/allocator.h>
#include <minidl/kernels/execution.h>
#include <minidl/layers/ops.h>
#include <minidl/layers/vgg.h>
#include <support/compare.h>
#include <support/random_tensors.h>
#include <support/tiny_vgg.h>

namespace minidl::layers {
namespace {

using test::random_uniform;
using test::same_bytes;
using test::throws_error;
using test::tiny_vgg;
using Kind = LayerDescription::Kind;
using Names = std::vector<std::string>;

Tensor picture(int64_t n, int64_t h, int64_t w) {
  return random_uniform({n, h, w, 3}, 5, 0.0f, 255.0f);
}

/// The definition: mean off, then layer by layer with nothing fused.
std::map<std::string, Variable> layer_by_layer(const NetworkDescription& network, const Variable& image) {
  std::map<std::string, Variable> values;
  const auto& mean = network.mean;
  const std::vector<float> offset = {-mean[0], -mean[1], -mean[2]};
  Variable x = ops::affine_per_channel(image, 1.0f, Tensor::from(offset, {3}));
  for (const LayerDescription& layer : network.layers) {
    if (layer.kind == Kind::conv) x = ops::conv2d(x, Variable(layer.weight), Variable(layer.bias), layer.window);
    if (layer.kind == Kind::relu) x = ops::relu(x);
    if (layer.kind == Kind::pool) x = ops::pool2d(x, layer.pool, layer.k_h, layer.k_w, layer.window);
    values[layer.name] = x;
  }
  return values;
}

TEST(Vgg, EveryLayerIsWhatTheChainSays) {
  const NetworkDescription network = tiny_vgg();
  Vgg vgg(network);
  EXPECT_EQ(vgg.layer_names().front(), "conv1_1");
  const Variable image(picture(2, 17, 19));
  const auto expected = layer_by_layer(network, image);
  const Names names = vgg.layer_names();
  const auto all = vgg(image, names);
  ASSERT_EQ(all.size(), expected.size());
  for (const auto& [name, value] : expected) {
    EXPECT_TRUE(same_bytes(all.at(name).value(), value.value())) << name;
    EXPECT_TRUE(same_bytes(vgg(image, {name}).at(name).value(), value.value())) << name << " asked for alone";
    EXPECT_EQ(vgg.feature_shape(name, image.shape()), value.shape()) << name;
  }
  EXPECT_TRUE(same_bytes(vgg(image).value(), expected.at(names.back()).value()));
  EXPECT_TRUE(vgg(image, Names{}).empty());
}

TEST(Vgg, StopsAtTheDeepestTapAndFusesWhatIsNotTapped) {
  Vgg vgg(tiny_vgg());
  vgg.freeze();
  const auto nodes = [&](const Names& taps) {
    const Variable image(picture(1, 16, 16), true);
    Tape tape;
    const TapeScope recording(tape);
    vgg(image, taps);
    return tape.size();
  };
  // Without the mean, which has the gradient of what it is taken from.
  EXPECT_EQ(nodes({"relu1_1"}), 1u);             // conv + ReLU
  EXPECT_EQ(nodes({"conv1_1"}), 1u);             // conv
  EXPECT_EQ(nodes({"conv1_1", "relu1_1"}), 2u);  // conv, ReLU
  EXPECT_EQ(nodes({"relu2_1", "relu1_1"}), 3u);  // conv, conv with the pool, conv
  EXPECT_EQ(nodes({"relu2_1", "relu1_2"}), 4u);  // two convs, pool, conv
}

TEST(Vgg, TheGradientOfTheImageIsThatOfTheChain) {
  const NetworkDescription network = tiny_vgg();
  Vgg vgg(network);
  vgg.freeze();
  const Tensor data = picture(1, 16, 18);
  const auto gradient = [&](const std::function<std::map<std::string, Variable>(const Variable&)>& run) {
    const Variable image(data, true);
    Tape tape;
    const TapeScope recording(tape);
    const auto features = run(image);
    tape.backward(ops::sum(features.at("relu3_2")) + ops::mean(features.at("relu1_2")));
    return image.grad();
  };
  EXPECT_TRUE(same_bytes(gradient([&](const Variable& image) {
                           return vgg(image, {"relu1_2", "relu3_2"});
                         }),
                         gradient([&](const Variable& image) { return layer_by_layer(network, image); })));
}

TEST(Vgg, FrozenWeightsGetNoGradientAndOthersDo) {
  Vgg vgg(tiny_vgg({1, 1}));
  EXPECT_EQ(vgg.named_parameters()[0].first, "conv1_1.weight");
  EXPECT_EQ(vgg.named_parameters()[1].first, "conv1_1.bias");
  const Variable image(picture(1, 8, 8), true);
  const auto backward = [&] {
    Tape tape;
    const TapeScope recording(tape);
    tape.backward(ops::sum(vgg(image, {"relu2_1"}).at("relu2_1")));
  };
  backward();
  for (const auto& [name, parameter] : vgg.named_parameters()) EXPECT_TRUE(parameter.grad()) << name;
  vgg.to(Device::cpu()).freeze();
  backward();
  for (const auto& [name, parameter] : vgg.named_parameters()) EXPECT_FALSE(parameter.grad()) << name;
}

TEST(Vgg, TapsCutTheChain) {
  const Vgg vgg(tiny_vgg(), {.taps = {"relu2_1", "relu1_2"}});
  EXPECT_EQ(vgg.layer_names(), (Names{"conv1_1", "relu1_1", "conv1_2", "relu1_2", "pool1", "conv2_1", "relu2_1"}));
  EXPECT_TRUE(vgg.has_layer("pool1"));
  EXPECT_FALSE(vgg.has_layer("conv2_2"));
}

TEST(Vgg, PoolingCanBeReplaced) {
  Vgg vgg(tiny_vgg());
  vgg.set_pooling(PoolKind::average);
  NetworkDescription averaged = tiny_vgg();
  for (LayerDescription& layer : averaged.layers) layer.pool = PoolKind::average;
  const Variable image(picture(1, 17, 16));
  EXPECT_TRUE(
      same_bytes(vgg(image, {"relu2_1"}).at("relu2_1").value(), layer_by_layer(averaged, image).at("relu2_1").value()));
}

TEST(Vgg, StaysValidWhenMoved) {
  const auto make = [] {
    Vgg made(tiny_vgg({1}));
    made.freeze();
    return made;
  };
  Vgg vgg = make();
  Vgg moved = std::move(vgg);
  EXPECT_TRUE(moved.parameters().empty());
  EXPECT_EQ(moved(Variable(picture(1, 4, 4))).shape(), Shape({1, 2, 2, 4}));
}

TEST(Vgg, KnowsTheSmallestPicture) {
  Vgg vgg(tiny_vgg());
  EXPECT_EQ(vgg.smallest_side("relu1_2"), 1);
  EXPECT_EQ(vgg.smallest_side("pool1"), 2);
  EXPECT_EQ(vgg.smallest_side("relu4_2"), 8);
  EXPECT_EQ(vgg(Variable(picture(1, 8, 9)), {"relu4_2"}).at("relu4_2").shape(), Shape({1, 1, 1, 4}));
  EXPECT_TRUE(throws_error(
      [&] {
        vgg(Variable(picture(1, 9, 7)), {"relu4_2", "relu1_1"});
      },
      "a picture of 7 x 9 pixels is too small for layer 'relu4_2'"));
  EXPECT_TRUE(throws_error([&] { vgg(Variable(picture(1, 9, 7)), {"relu4_2"}); }, "at least 8 pixels"));
  EXPECT_TRUE(throws_error([&] { vgg.feature_shape("relu4_2", {1, 7, 9, 3}); }, "too small"));

  Vgg deep(tiny_vgg({2, 2, 4, 4, 4}));
  EXPECT_EQ(deep.smallest_side("relu5_1"), 16);
}

TEST(Vgg, ErrorsSayWhatIsThere) {
  Vgg vgg(tiny_vgg());
  const Variable image(picture(1, 16, 16));
  EXPECT_TRUE(throws_error([&] { vgg(image, {"relu4_3"}); }, "did you mean 'relu3_3'"));
  EXPECT_TRUE(throws_error([&] { Vgg(tiny_vgg(), {.taps = {"nonsense"}}); }, "no layer 'nonsense'"));
  EXPECT_TRUE(throws_error(
      [&] {
        vgg(Variable(Tensor::zeros({16, 16, 3})), {"relu1_1"});
      },
      "must be [n, height, width, 3]"));
  EXPECT_TRUE(throws_error(
      [&] {
        vgg(Variable(Tensor::zeros({1, 16, 16, 4})), {"relu1_1"});
      },
      "must be [n, height, width, 3]"));
  EXPECT_TRUE(throws_error([] { Vgg(NetworkDescription{}); }, "has no layers"));
  NetworkDescription partly = tiny_vgg();
  partly.layers[2].weight = Tensor();
  EXPECT_NO_THROW(Vgg(partly, {.taps = {"relu1_1"}}));
  EXPECT_TRUE(throws_error([&] { Vgg{partly}; }, "layer 'conv1_2' of 'tiny' has no weights"));
  EXPECT_TRUE(throws_error([&] { vgg.classify(image.value()); }, "'tiny' has no fully connected layers"));
  NetworkDescription wide = tiny_vgg();
  wide.layers[2].in_c = 5;
  Vgg unfitting(wide);
  EXPECT_TRUE(
      throws_error([&] { unfitting(image, {"relu1_2"}); }, "layer 'conv1_2' of 'tiny' expects 5 channels, it gets 4"));
}

/// Five pools and a 7 x 7 layer, as the real classifiers have; with or without the softmax.
NetworkDescription tiny_classifier(bool softmax = true) {
  NetworkDescription network = tiny_vgg({1, 1, 1, 1, 1});
  network.layers.push_back({.kind = Kind::conv, .name = "fc8", .k_h = 7, .k_w = 7, .in_c = 4, .out_c = 6});
  if (softmax) network.layers.push_back({.kind = Kind::softmax, .name = "prob"});
  network.class_names = {"ant", "bee", "cat", "dog", "elk", "fox"};
  fill_random_weights(network, 2);
  for (LayerDescription& layer : network.layers) {
    if (layer.name != "fc8") continue;
    for (float& value : layer.weight.span<float>()) value *= 0.01f;
  }
  return network;
}

TEST(VggClassifier, NamesTheMostProbableClassesFirst) {
  Vgg vgg(tiny_classifier());
  const Tensor image = picture(1, 50, 80);
  const std::vector<Vgg::Prediction> all = vgg.classify(image, 100);
  ASSERT_EQ(all.size(), 6u);
  double sum = 0.0;
  for (size_t i = 0; i < all.size(); ++i) {
    sum += all[i].probability;
    EXPECT_LE(all[i].probability, all[i == 0 ? 0 : i - 1].probability);
    EXPECT_EQ(all[i].name, vgg.description().class_names[static_cast<size_t>(all[i].index)]);
  }
  EXPECT_NEAR(sum, 1.0, 1e-5);
  const std::vector<Vgg::Prediction> two = Vgg(tiny_classifier(false)).classify(image, 2);
  ASSERT_EQ(two.size(), 2u);
  EXPECT_EQ(two[1].index, all[1].index);
  EXPECT_EQ(two[1].probability, all[1].probability);
}

TEST(VggClassifier, EquallyProbableClassesKeepTheirOrder) {
  NetworkDescription flat = tiny_classifier();
  for (LayerDescription& layer : flat.layers) {
    if (layer.name == "fc8") layer.weight.fill(0.0f);
  }
  const auto all = Vgg(flat).classify(picture(1, 8, 8));
  ASSERT_EQ(all.size(), 5u);
  for (size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i].index, static_cast<int64_t>(i));
}

TEST(VggClassifier, RefusesWhatItCannotClassify) {
  Vgg vgg(tiny_classifier());
  EXPECT_TRUE(throws_error([&] { vgg.classify(picture(1, 8, 8), 0); }, "at least one"));
  EXPECT_THROW(vgg.classify(picture(2, 8, 8)), Error);
  NetworkDescription broken = tiny_classifier();
  broken.layers[0].bias.fill(NAN);
  EXPECT_TRUE(throws_error([&] { Vgg(broken).classify(picture(1, 8, 8)); }, "finite values"));
  NetworkDescription small = tiny_classifier();
  small.layers.erase(small.layers.begin() + 2);  // one pool less: 8 x 8 answers instead of one
  EXPECT_TRUE(throws_error([&] { Vgg(small).classify(picture(1, 8, 8)); }, "for one picture"));
}

TEST(Vgg, HandsOverValuesAsTheyCome) {
  Vgg vgg(tiny_vgg());
  const Variable image(picture(1, 16, 18));
  const Names taps = {"relu2_1", "relu1_1", "pool1"};
  const auto expected = vgg(image, taps);
  Names order;
  vgg.visit(image, taps, [&](const std::string& name, const Variable& value) {
    order.push_back(name);
    EXPECT_TRUE(same_bytes(value.value(), expected.at(name).value())) << name;
  });
  EXPECT_EQ(order, (Names{"relu1_1", "pool1", "relu2_1"}));
}

// Per value of relu1_1: 2 * 27 operations and 4 bytes. Of relu2_1, whose input pool1 would stay: 2 * 9 * 4 operations for
// 4 - 4 bytes; of relu2_2 from relu2_1, which is there: for 4 bytes.
TEST(Vgg, ComputesAnewWhatIsCheapForItsBytes) {
  Vgg vgg(tiny_vgg());
  const Names taps = {"relu1_1", "relu2_1", "relu2_2", "conv3_1", "pool3"};
  const auto names = [&](double limit, const Shape& image = {1, 32, 32, 3}) {
    vgg.set_recompute_limit(limit);
    return vgg.recomputed(image, taps);
  };
  using Set = std::set<std::string>;
  EXPECT_EQ(vgg.recompute_limit(), Vgg::kCheapRecompute);
  EXPECT_EQ(names(Vgg::kCheapRecompute), Set{"relu1_1"});
  EXPECT_EQ(names(13.4), Set{});
  EXPECT_EQ(names(13.6), Set{"relu1_1"});
  EXPECT_EQ(names(17.9), Set{"relu1_1"});
  EXPECT_EQ(names(18.1), (Set{"relu1_1", "relu2_2"}));
  EXPECT_EQ(names(1e9), (Set{"relu1_1", "relu2_2"}));  // the others free nothing
  EXPECT_EQ(names(1e9, {2, 32, 32, 3}), Set{});
}

TEST(Vgg, TheGradientDoesNotDependOnWhatIsComputedAnew) {
  NetworkDescription network = tiny_vgg({2, 2, 2}, 16);
  Vgg vgg(network);
  vgg.freeze();
  const Tensor data = picture(1, 44, 38);
  const Names taps = {"relu1_1", "relu1_2", "conv2_1", "relu2_1", "relu2_2", "relu3_1"};
  const auto gradient = [&](double limit) {
    vgg.set_recompute_limit(limit);
    const Variable image(data, true);
    Tape tape;
    const TapeScope recording(tape);
    Variable total;
    vgg.visit(image, taps, [&](const std::string&, const Variable& value) {
      const int64_t c = value.shape()[3];
      const Variable term = ops::style_loss(value, Tensor::zeros({1, c, c})) +
                            ops::content_loss(value, Tensor::zeros(value.shape()));
      total = total ? total + term : term;
    });
    tape.backward(total);
    return image.grad();
  };
  const Tensor kept = gradient(0);
  EXPECT_TRUE(same_bytes(gradient(Vgg::kCheapRecompute), kept));
  EXPECT_EQ(vgg.recomputed(data.shape(), taps), std::set<std::string>{"relu1_1"});
  EXPECT_TRUE(same_bytes(gradient(1e9), kept));
  EXPECT_EQ(vgg.recomputed(data.shape(), taps), (std::set<std::string>{"relu1_1", "relu1_2", "relu2_2"}));
}

// In bf16 grade, features that wait for the backward pass are rounded and take half the bytes.
TEST(Vgg, KeepsFeaturesInBf16ForTheBackwardPass) {
  const int64_t cache = execution::filter_cache();
  execution::set_filter_cache(0);  // filters that are kept from the second use on are no features
  Vgg vgg(tiny_vgg({2, 2, 2}, 16));
  vgg.freeze();
  const Variable image(picture(1, 64, 60), true);
  const auto kept_bytes = [&](Precision precision, Tensor& kept) {
    execution::set_precision(precision);
    kept = {};
    Allocator& memory = allocator(Device::cpu());
    const int64_t before = memory.stats().in_use;
    Tape tape;
    const TapeScope recording(tape);
    std::vector<Saved> saved;
    vgg.visit(image, Names{"relu1_2"}, [&](const std::string&, const Variable& value) {
      saved.emplace_back(value);
      kept = value.value().clone();
    });
    tape.clear();
    const int64_t bytes = memory.stats().in_use - before - kept.count() * static_cast<int64_t>(sizeof(float));
    const Tensor back = saved[0].get("test");
    for (int64_t i = 0; i < kept.count(); ++i) {
      const float value = std::as_const(kept).data<float>()[i];
      EXPECT_EQ(std::as_const(back).data<float>()[i],
                precision == Precision::bf16 ? bfloat16_to_float(float_to_bfloat16(value)) : value);
    }
    return bytes;
  };
  Tensor value;
  const int64_t whole = kept_bytes(Precision::fp32, value), half = kept_bytes(Precision::bf16, value);
  execution::set_precision(Precision::fp32);
  execution::set_filter_cache(cache);
  EXPECT_NEAR(static_cast<double>(whole), static_cast<double>(value.count()) * 4, 1000.0);
  EXPECT_NEAR(static_cast<double>(half), static_cast<double>(value.count()) * 2, 1000.0);
}

}  // namespace
}  // namespace minidl::layers
