#include <minidl/core/tape.h>
#include <minidl/layers/activation.h>
#include <minidl/layers/batch_norm.h>
#include <minidl/layers/conv2d.h>
#include <minidl/layers/init.h>
#include <minidl/layers/instance_norm.h>
#include <minidl/layers/linear.h>
#include <minidl/layers/ops.h>
#include <minidl/layers/pool2d.h>
#include <minidl/layers/residual_block.h>
#include <minidl/layers/sequential.h>
#include <minidl/layers/upsample.h>
#include <support/compare.h>
#include <support/random_tensors.h>

namespace minidl::layers {
namespace {

using test::random_uniform;
using test::same_bytes;
using test::throws_error;

/// Every kind of layer that fuses a ReLU, some without a ReLU to fuse, and a ReLU after something that cannot.
Sequential make_net() {
  seed(3);
  Sequential net;
  net.add<Conv2d>(3, 5, Conv2dOptions{.kernel = 3, .padding = Padding::reflect(1)})
      .add<Relu>()
      .add<Conv2d>(5, 4, Conv2dOptions{.kernel = 3, .stride = 2, .padding = Padding::zero(1), .bias = false})
      .add<InstanceNorm>(4)
      .add<Relu>()
      .add<ResidualBlock>(4)
      .add<Relu>()
      .add<Upsample>(2)
      .add<Conv2d>(4, 6, Conv2dOptions{.kernel = 1})
      .add<BatchNorm>(6)
      .add<Relu>()
      .add<MaxPool2d>()
      .add<Relu>()
      .add<Conv2d>(6, 3, Conv2dOptions{.kernel = 1, .activation = Activation::relu})
      .add<Relu>()
      .add<Tanh>(150.0f);
  return net;
}

struct Result {
  Tensor output, grad_input;
  std::vector<Tensor> grads;
};

Result run(Sequential& net, const Tensor& picture) {
  Variable input(picture, true);
  Tape tape;
  const TapeScope recording(tape);
  const Variable output = net(input);
  tape.backward(ops::content_loss(output, Tensor::full(output.shape(), 0.25f)));
  Result result{output.value(), input.grad(), {}};
  for (const Variable& parameter : net.parameters()) result.grads.push_back(parameter.grad());
  return result;
}

TEST(Sequential, FusionChangesNoByte) {
  const Tensor picture = random_uniform({2, 7, 9, 3}, 1);
  Sequential fused = make_net(), plain = make_net();
  plain.set_fusion(false);
  const Result with = run(fused, picture), without = run(plain, picture);
  EXPECT_TRUE(same_bytes(with.output, without.output));
  EXPECT_TRUE(same_bytes(with.grad_input, without.grad_input));
  ASSERT_EQ(with.grads.size(), without.grads.size());
  const auto names = fused.named_parameters();
  for (size_t i = 0; i < with.grads.size(); ++i) {
    EXPECT_TRUE(same_bytes(with.grads[i], without.grads[i])) << names[i].first;
  }
  EXPECT_GT(test::inner_product(with.grad_input, with.grad_input), 0.0);
}

TEST(Sequential, FusionSavesANode) {
  const Variable picture(random_uniform({1, 4, 4, 3}, 1), true);
  const auto nodes = [&](bool fusion) {
    Sequential net;
    net.add<Conv2d>(3, 2).add<Relu>().add<InstanceNorm>(2).add<Relu>().set_fusion(fusion);
    Tape tape;
    const TapeScope recording(tape);
    net(picture);
    return tape.size();
  };
  EXPECT_EQ(nodes(true), 2u);
  EXPECT_EQ(nodes(false), 4u);
}

TEST(Sequential, RecordsNothingWithoutATape) {
  Sequential net = make_net();
  EXPECT_FALSE(net(Variable(random_uniform({1, 8, 8, 3}, 1), true)).requires_grad());
}

TEST(Sequential, ChildrenAreCalledByIndexOrByName) {
  Sequential net;
  net.add_named<Conv2d>("conv1", 3, 4).add<Relu>().add<InstanceNorm>(4);
  std::vector<std::string> names;
  for (const auto& parameter : net.named_parameters()) names.push_back(parameter.first);
  EXPECT_EQ(names, (std::vector<std::string>{"conv1.weight", "conv1.bias", "2.weight", "2.bias"}));
  EXPECT_TRUE(throws_error([&] { net.add_named<Relu>("conv1"); }, "'conv1' is taken"));
  EXPECT_EQ(net.size(), 3u) << "a layer that was refused is not there";
  EXPECT_TRUE(dynamic_cast<Relu*>(&net[1]));
  EXPECT_TRUE(throws_error([&] { net[3]; }, "no layer 3: there are 3"));
}

TEST(Sequential, StaysValidWhenMoved) {
  const Tensor picture = random_uniform({1, 8, 8, 3}, 2);
  Sequential original = make_net();
  const Tensor expected = original(Variable(picture)).value();
  const Sequential reference = make_net();
  Sequential moved = std::move(original);
  EXPECT_EQ(moved.size(), reference.size());
  moved.load_state(reference.state());
  EXPECT_TRUE(same_bytes(moved(Variable(picture)).value(), expected));

  Sequential outer;
  outer.add<Sequential>(std::move(moved)).add<Relu>();
  EXPECT_EQ(outer(Variable(picture)).shape(), expected.shape());
  EXPECT_EQ(outer.named_parameters()[0].first, "0.0.weight");
}

TEST(Sequential, WithoutLayersItIsTheIdentity) {
  Sequential net;
  const Variable input(random_uniform({1, 2, 2, 1}, 3));
  EXPECT_TRUE(net(input).same_as(input));
}

TEST(Sequential, ShapesFollowTheOptions) {
  Sequential net;
  net.add<Conv2d>(3, 8, Conv2dOptions{.kernel = 9, .stride = 2, .padding = Padding::reflect(4)})
      .add<AvgPool2d>(Pool2dOptions{.kernel = 3, .stride = 1, .padding = 1})
      .add<Upsample>(3);
  EXPECT_EQ(net(Variable(Tensor::zeros({2, 11, 16, 3}))).shape(), Shape({2, 18, 24, 8}));
  EXPECT_EQ(net.parameter_count(), 9 * 9 * 3 * 8 + 8);
}

TEST(Layers, ArgumentsOutOfRangeAreRefused) {
  EXPECT_TRUE(throws_error([] { Conv2d(0, 4); }, "[conv2d] 0 to 4 channels"));
  EXPECT_TRUE(throws_error([] { Conv2d(3, 4, {.kernel = 0}); }, "kernel 0"));
  EXPECT_TRUE(throws_error([] { Conv2d(3, 4, {.stride = -1}); }, "stride -1"));
  EXPECT_TRUE(throws_error([] { Linear(3, 0); }, "[linear] 3 to 0"));
  EXPECT_TRUE(throws_error([] { MaxPool2d({.kernel = 2, .padding = 2}); }, "padding 2"));
  EXPECT_TRUE(throws_error([] { AvgPool2d({.stride = 0}); }, "stride 0"));
  EXPECT_TRUE(throws_error([] { Upsample layer(0); }, "factor is 0"));
  EXPECT_TRUE(throws_error([] { Tanh layer(0.0f); }, "scale is 0"));
  EXPECT_TRUE(throws_error([] { Tanh layer(INFINITY); }, "scale is inf"));
}

TEST(Layers, LinearIsAMatrixProductWithABias) {
  Linear layer(3, 2), plain(3, 2, false);
  EXPECT_EQ(plain.named_parameters().size(), 1u);
  SafetensorsContent state;
  state.tensors = {{"weight", Tensor::from(std::vector<float>{1, 2, 3, -1, 0, 2}, {2, 3})},
                   {"bias", Tensor::from(std::vector<float>{10, 20}, {2})}};
  layer.load_state(state);
  const Variable input(Tensor::from(std::vector<float>{1, 1, 1, 2, 0, -1}, {2, 3}));
  EXPECT_TRUE(test::equals(layer(input).value(), {16, 21, 9, 16}));
}

TEST(ResidualBlock, AddsItsInputWithNoReluAfterwards) {
  ResidualBlock block(4);
  SafetensorsContent state = block.state();
  for (auto& [name, tensor] : state.tensors) {
    if (name == "norm2.weight") tensor.fill(0.0f);
    if (name == "norm2.bias") tensor.fill(-5.0f);
  }
  block.load_state(state);
  const Tensor input = test::random_integers({2, 5, 3, 4}, 4);
  std::vector<double> expected;
  for (const float value : input.span<float>()) expected.push_back(value - 5.0);
  EXPECT_TRUE(test::equals(block(Variable(input)).value(), expected));
}

TEST(ResidualBlock, IsTheSumOfItsParts) {
  for (const NormKind kind : {NormKind::instance, NormKind::batch}) {
    ResidualBlock block(3, {.norm = kind, .padding = Padding::Mode::replicate});
    const auto value = [&](const std::string& name) {
      for (const auto& [full, parameter] : block.named_parameters()) {
        if (full == name) return parameter;
      }
      return Variable();
    };
    const auto norm = [&](const Variable& x, const std::string& name) {
      ops::BatchNormState state{Tensor::zeros({3}), Tensor::full({3}, 1.0f)};
      return kind == NormKind::instance ? ops::instance_norm(x, value(name + ".weight"), value(name + ".bias"))
                                        : ops::batch_norm(x, value(name + ".weight"), value(name + ".bias"), state);
    };
    const auto conv = [&](const Variable& x, const std::string& name) {
      return ops::conv2d(x, value(name + ".weight"), value(name + ".bias"), {1, 1, Padding::replicate(1)});
    };
    const Variable x(random_uniform({2, 4, 5, 3}, 5));
    const Variable hidden = ops::relu(norm(conv(x, "conv1"), "norm1"));
    const Variable expected = ops::add(x, norm(conv(hidden, "conv2"), "norm2"));
    EXPECT_TRUE(same_bytes(block(x).value(), expected.value()));
    const auto gradients = [&](bool whole) {
      block.zero_grad();
      const Variable leaf(x.value(), true);
      Tape tape;
      const TapeScope recording(tape);
      const Variable inner = ops::relu(norm(conv(leaf, "conv1"), "norm1"));
      const Variable sum = whole ? block(leaf) : ops::add(leaf, norm(conv(inner, "conv2"), "norm2"));
      tape.backward(ops::content_loss(sum, Tensor::zeros(sum.shape())));
      std::vector<Tensor> grads = {leaf.grad().clone()};
      for (const Variable& parameter : block.parameters()) grads.push_back(parameter.grad().clone());
      return grads;
    };
    const std::vector<Tensor> fused = gradients(true), chain = gradients(false);
    for (size_t i = 0; i < chain.size(); ++i) EXPECT_TRUE(same_bytes(fused[i], chain[i])) << i;
    EXPECT_EQ(block.named_buffers().size(), kind == NormKind::batch ? 4u : 0u);
  }
}

}  // namespace
}  // namespace minidl::layers
