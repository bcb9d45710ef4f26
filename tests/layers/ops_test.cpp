#include <minidl/layers/ops.h>
#include <support/gradcheck.h>
#include <support/threads.h>

#include <functional>
#include <memory>
#include <numeric>
#include <utility>

namespace minidl {
namespace {

using test::equals;
using test::gradcheck;
using test::GradcheckOptions;
using test::random_integers;
using test::random_uniform;
using test::same_bytes;
using test::throws_error;
using Inputs = std::vector<Variable>;

/// Odd halves: no value, and no whole multiple of one plus a whole number, is within 1/4 of a ReLU's kink.
Tensor off_zero(const Shape& shape, uint64_t seed) {
  Tensor x = random_integers(shape, seed);
  for (float& value : x.span<float>()) value += 0.5f;
  return x;
}

/// Whole numbers that all differ, shuffled: no two pixels of a pooling window are close.
Tensor distinct(const Shape& shape, uint64_t seed) {
  Tensor x = Tensor::empty(shape);
  const std::span<float> values = x.span<float>();
  std::iota(values.begin(), values.end(), -static_cast<float>(values.size() / 2) + 0.5f);
  std::shuffle(values.begin(), values.end(), std::mt19937_64(seed));
  return x;
}

/// Values of a function that is linear within the step are compared with ==, the others within kCurved.
const GradcheckOptions kExact{.step = 0.25, .tolerance = 0.0};
const GradcheckOptions kCurved{.step = 1.0 / 16, .tolerance = 3e-4};

struct Case {
  std::string name;
  test::Function function;
  std::vector<Tensor> inputs;
  GradcheckOptions options = kExact;
};

void PrintTo(const Case& test_case, std::ostream* stream) {
  *stream << test_case.name;
}

std::vector<Case> convolution_cases() {
  const Window same{1, 1, Padding::zero(1)}, reflected{1, 1, Padding::reflect(2)}, strided{2, 3, Padding::replicate(1)};
  const std::vector<Tensor> tensors = {random_integers({2, 5, 4, 3}, 1), random_integers({4, 3, 3, 3}, 2),
                                       off_zero({4}, 3)};
  const std::vector<Tensor> no_bias = {tensors[0], tensors[1]};
  const Window half{2, 2, Padding::zero(1)};
  const Tensor shares = random_integers({3}, 9), shares_of_two = random_integers({2, 3}, 10);
  return {
      {"conv2d", [=](const Inputs& x) { return ops::conv2d(x[0], x[1], x[2], same); }, tensors},
      {"conv2d_reflect", [=](const Inputs& x) { return ops::conv2d(x[0], x[1], x[2], reflected); }, tensors},
      {"conv2d_stride", [=](const Inputs& x) { return ops::conv2d(x[0], x[1], {}, strided); }, no_bias},
      {"conv2d_relu",
       [=](const Inputs& x) { return ops::conv2d(x[0], x[1], x[2], same, Activation::relu); },
       tensors,
       {.step = 1.0 / 16}},
      {"conv2d_transpose",
       [=](const Inputs& x) { return ops::conv2d_transpose(x[0], x[1], x[2], half, 6, 4); },
       {random_integers({2, 3, 2, 4}, 11), tensors[1], off_zero({3}, 12)}},
      {"conv2d_transpose_no_bias",
       [=](const Inputs& x) { return ops::conv2d_transpose(x[0], x[1], {}, half, 5, 3); },
       {random_integers({1, 3, 2, 4}, 13), tensors[1]}},
      {"upsample_conv2d",
       [=](const Inputs& x) { return ops::upsample_conv2d(x[0], x[1], x[2], Padding::Mode::reflect); },
       {random_integers({2, 3, 2, 3}, 16), tensors[1], off_zero({4}, 17)}},
      {"upsample_conv2d_zero",
       [=](const Inputs& x) { return ops::upsample_conv2d(x[0], x[1], {}, Padding::Mode::zero); },
       {random_integers({1, 2, 4, 3}, 18), tensors[1]}},
      {"mix_rows", [=](const Inputs& x) { return ops::mix_rows(x[0], shares); }, {random_integers({3, 5}, 14)}},
      {"mix_rows_for_each_picture",
       [=](const Inputs& x) { return ops::mix_rows(x[0], shares_of_two); },
       {random_integers({3, 5}, 15)}},
      {"conv2d_pool2d_average",
       [=](const Inputs& x) { return ops::conv2d_pool2d(x[0], x[1], x[2], same, PoolKind::average); },
       tensors,
       {.step = 1.0 / 16}},
      {"linear",
       [](const Inputs& x) { return ops::linear(x[0], x[1], x[2]); },
       {random_integers({2, 7}, 4), random_integers({5, 7}, 5), random_integers({5}, 6)}},
      {"linear_no_bias",
       [](const Inputs& x) { return ops::linear(x[0], x[1], {}); },
       {random_integers({3, 4}, 7), random_integers({2, 4}, 8)}},
  };
}

std::vector<Case> elementwise_cases() {
  const std::vector<Tensor> one = {off_zero({2, 3, 3, 2}, 10)};
  const std::vector<Tensor> two = {one[0], off_zero({2, 3, 3, 2}, 11)};
  const Tensor offset = random_integers({2}, 12);
  return {
      {"relu", [](const Inputs& x) { return ops::relu(x[0]); }, one},
      {"tanh", [](const Inputs& x) { return ops::tanh(x[0], 2.5f); }, {random_uniform({2, 3, 3, 2}, 13)}, kCurved},
      {"add", [](const Inputs& x) { return ops::add(x[0], x[1]); }, two},
      {"subtract", [](const Inputs& x) { return ops::subtract(x[0], x[1]); }, two},
      {"scale", [](const Inputs& x) { return ops::scale(x[0], -3.0f); }, one},
      {"operators", [](const Inputs& x) { return x[0] + 2.0f * x[1] - x[0]; }, two},
      {"affine", [=](const Inputs& x) { return ops::affine_per_channel(x[0], 2.0f, offset); }, one},
      {"offset", [=](const Inputs& x) { return ops::scale(ops::affine_per_channel(x[0], 1.0f, offset), 3.0f); }, one},
      {"offset_behind_relu",
       [=](const Inputs& x) {
         const Variable positive = ops::relu(x[0]);
         return ops::tanh(ops::affine_per_channel(positive, 1.0f, offset), 9.0f) + 2.0f * positive;
       },
       one,
       kCurved},
      {"reshape",
       [](const Inputs& x) {
         return ops::reshape(x[0], {4, 9});
       },
       one},
      {"sum", [](const Inputs& x) { return ops::sum(x[0]); }, one},
      {"mean", [](const Inputs& x) { return ops::mean(x[0]); }, {off_zero({2, 2, 4, 2}, 14)}},
  };
}

std::vector<Case> spatial_cases() {
  const std::vector<Tensor> pixels = {distinct({2, 5, 6, 3}, 20)};
  const Window two{2, 2, {}}, overlapping{1, 2, Padding::zero(1)};
  return {
      {"pool_max", [=](const Inputs& x) { return ops::pool2d(x[0], PoolKind::max, 2, 2, two); }, pixels},
      {"pool_max_overlapping", [=](const Inputs& x) { return ops::pool2d(x[0], PoolKind::max, 3, 2, overlapping); },
       pixels},
      {"pool_average", [=](const Inputs& x) { return ops::pool2d(x[0], PoolKind::average, 2, 2, two); }, pixels},
      {"pad_zero",
       [](const Inputs& x) {
         return ops::pad(x[0], {Padding::Mode::zero, 1, 0, 2, 3});
       },
       pixels},
      {"pad_reflect", [](const Inputs& x) { return ops::pad(x[0], Padding::reflect(2)); }, pixels},
      {"pad_replicate",
       [](const Inputs& x) {
         return ops::pad(x[0], {Padding::Mode::replicate, 0, 3, 1, 0});
       },
       pixels},
      {"upsample_nearest", [](const Inputs& x) { return ops::upsample_nearest(x[0], 3); }, pixels},
  };
}

std::vector<Case> norm_cases() {
  const std::vector<Tensor> tensors = {random_uniform({2, 4, 3, 3}, 30, -3.0f, 3.0f),
                                       random_uniform({3}, 31, 0.5f, 2.0f), random_uniform({3}, 32)};
  const auto batch = [](bool training, Activation activation) {
    return [=](const Inputs& x) {
      ops::BatchNormState state{Tensor::full({3}, 0.25f), Tensor::full({3}, 2.0f), 0.1f, training};
      return ops::batch_norm(x[0], x[1], x[2], state, 1e-3f, activation);
    };
  };
  // A bias of +-2 over weights of at most 1/4 keeps every value off the kink: each channel is all on or all off.
  const std::vector<Tensor> one_sided = {tensors[0], random_uniform({3}, 33, 0.125f, 0.25f),
                                         Tensor::from(std::vector<float>{2.0f, -2.0f, 2.0f}, {3})};
  return {
      {"instance_norm", [](const Inputs& x) { return ops::instance_norm(x[0], x[1], x[2], 1e-3f); }, tensors, kCurved},
      {"instance_norm_plain",
       [](const Inputs& x) { return ops::instance_norm(x[0], {}, {}, 1e-3f); },
       {tensors[0]},
       kCurved},
      {"instance_norm_relu",
       [](const Inputs& x) { return ops::instance_norm(x[0], x[1], x[2], 1e-3f, Activation::relu); }, one_sided,
       kCurved},
      {"instance_norm_per_picture",
       [](const Inputs& x) { return ops::instance_norm(x[0], x[1], x[2], 1e-3f); },
       {tensors[0], random_uniform({2, 3}, 34, 0.5f, 2.0f), random_uniform({2, 3}, 35)},
       kCurved},
      {"instance_norm_residual",
       [](const Inputs& x) { return ops::instance_norm(x[0], x[1], x[2], 1e-3f, Activation::none, x[3]); },
       {tensors[0], tensors[1], tensors[2], random_uniform({2, 4, 3, 3}, 37)},
       kCurved},
      {"instance_norm_residual_relu",
       [](const Inputs& x) { return ops::instance_norm(x[0], x[1], x[2], 1e-3f, Activation::relu, x[3]); },
       {one_sided[0], one_sided[1], one_sided[2], random_uniform({2, 4, 3, 3}, 38, -0.5f, 0.5f)},
       kCurved},
      {"batch_norm_training", batch(true, Activation::none), tensors, kCurved},
      {"batch_norm_training_relu", batch(true, Activation::relu), one_sided, kCurved},
      {"batch_norm_evaluation", batch(false, Activation::none), tensors, kCurved},
      {"batch_norm_evaluation_relu", batch(false, Activation::relu), one_sided, kCurved},
      {"log_softmax",
       [](const Inputs& x) { return ops::log_softmax(x[0]); },
       {random_uniform({4, 5}, 36, -2, 2)},
       kCurved},
      {"dropout",
       [](const Inputs& x) {
         Rng rng(4);
         return ops::dropout(x[0], 0.5f, rng);
       },
       {random_integers({6, 7}, 37)}},
  };
}

std::vector<Case> loss_cases() {
  const std::vector<Tensor> features = {random_uniform({2, 3, 4, 3}, 40, 0.0f, 2.0f)};
  const Tensor target = random_uniform({2, 3, 4, 3}, 41);
  const Tensor one_gram = ops::gram_per_position(random_uniform({1, 5, 5, 3}, 42));
  const Tensor two_grams = ops::gram_per_position(random_uniform({2, 5, 5, 3}, 43));
  using Kind = ops::TotalVariationKind;
  return {
      {"content_loss", [=](const Inputs& x) { return ops::content_loss(x[0], target, 0.5f); }, features, kCurved},
      {"style_loss", [=](const Inputs& x) { return ops::style_loss(x[0], one_gram, 3.0f); }, features, kCurved},
      {"style_loss_per_picture", [=](const Inputs& x) { return ops::style_loss(x[0], two_grams); }, features, kCurved},
      {"total_variation", [](const Inputs& x) { return ops::total_variation(x[0], 0.5f); }, features, kCurved},
      {"total_variation_interior", [](const Inputs& x) { return ops::total_variation(x[0], 2.0f, Kind::interior); },
       features, kCurved},
  };
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const auto& group : {convolution_cases(), elementwise_cases(), spatial_cases(), norm_cases(), loss_cases()}) {
    cases.insert(cases.end(), group.begin(), group.end());
  }
  return cases;
}

/// Differences change elements of a weight without opening the tensor anew, so that no kept form of its filters may be
/// used.
class Ops : public ::testing::TestWithParam<Case> {
 protected:
  Ops() { execution::set_filter_cache(0); }
  ~Ops() override { execution::set_filter_cache(before_); }

 private:
  const int64_t before_ = execution::filter_cache();
};

TEST_P(Ops, GradientsAreThoseOfDifferences) {
  EXPECT_TRUE(gradcheck(GetParam().function, GetParam().inputs, GetParam().options));
}

/// Every op must mask what it writes when its input is a ReLU's output.
TEST_P(Ops, GradientsAreMaskedBehindARelu) {
  std::vector<Tensor> inputs = GetParam().inputs;
  inputs[0] = inputs[0].clone();
  for (float& value : inputs[0].span<float>()) value += value < 0.0f ? -1.0f : 1.0f;  // off the kink
  const auto behind_relu = [&](const Inputs& x) {
    Inputs rectified = x;
    rectified[0] = ops::relu(x[0]);
    return GetParam().function(rectified);
  };
  EXPECT_TRUE(gradcheck(behind_relu, inputs, GetParam().options));
}

/// A variable used twice collects both contributions, in whichever order they are written.
TEST_P(Ops, SharedInputsCollectEveryContribution) {
  const auto twice = [&](const Inputs& x) {
    const Variable before = ops::sum(x[0]);
    const Variable value = GetParam().function(x);
    const Variable after = ops::sum(x[0]);
    return ops::add(ops::add(ops::sum(value), before), 3.0f * after);
  };
  const auto once = [&](const Inputs& x) { return ops::sum(GetParam().function(x)); };
  const auto gradient = [&](const test::Function& function) {
    Inputs variables;
    for (const Tensor& input : GetParam().inputs) variables.emplace_back(input, true);
    Tape tape;
    const TapeScope recording(tape);
    tape.backward(function(variables));
    return variables[0].grad();
  };
  std::vector<double> expected = test::to_doubles(gradient(once));
  for (double& value : expected) value += 4.0;
  EXPECT_LT(test::normalised_error(gradient(twice), expected), 1e-6);
}

TEST_P(Ops, SameBytesForEveryNumberOfThreads) {
  EXPECT_TRUE(test::same_for_all_threads([&] {
    Inputs variables;
    for (const Tensor& input : GetParam().inputs) variables.emplace_back(input, true);
    Tape tape;
    const TapeScope recording(tape);
    tape.backward(ops::sum(GetParam().function(variables)));
    return variables[0].grad();
  }));
}

INSTANTIATE_TEST_SUITE_P(Every, Ops, ::testing::ValuesIn(all_cases()),
                         [](const auto& instance) { return instance.param.name; });

/// A chain in which every ReLU is fused and one value has three readers: conv, pool and a quadratic loss. Small whole
/// numbers: the central difference of a quadratic is exact, and every sum fits f32.
TEST(OpsTogether, AChainWithATapHasTheRightGradient) {
  const Window same{1, 1, Padding::zero(1)};
  const Tensor target = random_integers({2, 4, 4, 3}, 50);
  const auto chain = [&](const Inputs& x) {
    const Variable tap = ops::conv2d(x[0], x[1], x[2], same, Activation::relu);
    const Variable deeper = ops::conv2d(tap, x[3], {}, same, Activation::relu);
    const Variable pooled = ops::pool2d(tap, PoolKind::average, 2, 2, {2, 2, {}});
    return ops::sum(deeper) + ops::content_loss(tap, target) + 4.0f * ops::sum(pooled);
  };
  Tensor half_bias = random_integers({3}, 53, -2, 2);
  for (float& value : half_bias.span<float>()) value += 0.5f;
  const std::vector<Tensor> inputs = {random_integers({2, 4, 4, 2}, 51, -2, 2),
                                      random_integers({3, 3, 3, 2}, 52, -2, 2), half_bias,
                                      random_integers({2, 3, 3, 3}, 54, 1, 2)};
  EXPECT_TRUE(gradcheck(chain, inputs, {.step = 1.0 / 16}));
}

/// Of input, weight and bias, for both kinds.
TEST(Ops, APooledConvolutionHasTheGradientsOfTheChain) {
  const Window same{1, 1, Padding::zero(1)};
  for (const int64_t channels : {3, 16}) {
    for (const PoolKind kind : {PoolKind::max, PoolKind::average}) {
      const auto gradients = [&](bool fused) {
        const Variable input(random_uniform({2, 7, 6, channels}, 1), true),
            weight(random_uniform({channels, 3, 3, channels}, 2), true), bias(random_uniform({channels}, 3), true);
        Tape tape;
        const TapeScope recording(tape);
        const Variable output =
            fused ? ops::conv2d_pool2d(input, weight, bias, same, kind)
                  : ops::pool2d(ops::conv2d(input, weight, bias, same, Activation::relu), kind, 2, 2, {2, 2, {}});
        tape.backward(ops::sum(output));
        return std::vector<Tensor>{output.value(), input.grad(), weight.grad(), bias.grad()};
      };
      const std::vector<Tensor> fused = gradients(true), chain = gradients(false);
      for (size_t i = 0; i < chain.size(); ++i) EXPECT_TRUE(test::same_bytes(fused[i], chain[i])) << i;
    }
  }
}

TEST(OpsInPlace, OnlyAnInputThatNobodyElseHoldsIsOverwritten) {
  const Tensor original = random_uniform({2, 4, 5, 3}, 70), other = random_uniform({2, 4, 5, 3}, 71);
  const Variable kept(original.clone());
  const std::vector<std::function<Variable(Variable)>> functions = {
      [](Variable x) { return ops::instance_norm(std::move(x), {}, {}, 1e-5f, Activation::relu); },
      [&](Variable x) { return ops::add(Variable(other), std::move(x)); },
      [&](Variable x) { return ops::instance_norm(std::move(x), {}, {}, 1e-5f, Activation::none, Variable(other)); },
      [](Variable x) {
        ops::BatchNormState state{Tensor::zeros({3}), Tensor::full({3}, 2.0f), 0.1f, false};
        return ops::batch_norm(std::move(x), {}, {}, state);
      }};
  for (const auto& function : functions) {
    const Tensor expected = function(kept).value();
    EXPECT_TRUE(same_bytes(kept.value(), original)) << "it has another handle";
    Variable given_up(original.clone());
    const float* memory = std::as_const(given_up).value().data<float>();
    const Variable output = function(std::move(given_up));
    EXPECT_EQ(output.value().data<float>(), memory);
    EXPECT_TRUE(same_bytes(output.value(), expected));

    const Tensor held = original.clone();
    EXPECT_TRUE(same_bytes(function(Variable(held)).value(), expected));
    EXPECT_TRUE(same_bytes(held, original)) << "its tensor has another handle";
    Tape tape;
    const TapeScope recording(tape);
    Variable leaf(original.clone(), true);
    const float* leaf_memory = std::as_const(leaf).value().data<float>();
    EXPECT_NE(function(std::move(leaf)).value().data<float>(), leaf_memory) << "it is recorded";
  }
}

}  // namespace
}  // namespace minidl
