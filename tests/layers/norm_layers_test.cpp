#include <minidl/core/tape.h>
#include <minidl/layers/batch_norm.h>
#include <minidl/layers/instance_norm.h>
#include <minidl/layers/norm.h>
#include <minidl/layers/ops.h>
#include <support/compare.h>
#include <support/random_tensors.h>

namespace minidl::layers {
namespace {

using test::normalised_error;
using test::random_uniform;
using test::same_bytes;
using test::throws_error;

struct Statistics {
  double mean, variance;
};

/// Over the pictures [first, last) of one channel.
Statistics statistics(const Tensor& x, int64_t first, int64_t last, int64_t channel) {
  const Shape& shape = x.shape();
  const int64_t positions = shape[1] * shape[2], c = shape[3];
  const std::span<const float> values = x.span<float>();
  double sum = 0, squares = 0;
  for (int64_t i = first * positions; i < last * positions; ++i) {
    const double value = values[static_cast<size_t>(i * c + channel)];
    sum += value;
    squares += value * value;
  }
  const double count = static_cast<double>((last - first) * positions);
  return {sum / count, squares / count - sum / count * (sum / count)};
}

constexpr int64_t kBatch = 3, kChannels = 4;

TEST(InstanceNorm, GivesEachPictureAndChannelMeanZeroAndVarianceOne) {
  InstanceNorm norm(kChannels);
  const Tensor output = norm(Variable(random_uniform({kBatch, 6, 7, kChannels}, 1, -3.0f, 9.0f))).value();
  for (int64_t n = 0; n < kBatch; ++n) {
    for (int64_t c = 0; c < kChannels; ++c) {
      const Statistics found = statistics(output, n, n + 1, c);
      EXPECT_NEAR(found.mean, 0.0, 1e-6);
      EXPECT_NEAR(found.variance, 1.0, 1e-4);
    }
  }
}

TEST(InstanceNorm, WithoutParametersItIsTheSameAsWithFreshOnes) {
  InstanceNorm affine(kChannels), plain(kChannels, 1e-5f, false);
  EXPECT_TRUE(plain.named_parameters().empty());
  EXPECT_EQ(affine.named_parameters()[0].first, "weight");
  EXPECT_EQ(affine.named_parameters()[1].first, "bias");
  const Variable input(random_uniform({kBatch, 5, 5, kChannels}, 2));
  EXPECT_TRUE(same_bytes(affine(input).value(), plain(input).value()));
}

TEST(InstanceNorm, AFlatPictureStaysFinite) {
  InstanceNorm norm(kChannels);
  Variable input(Tensor::full({1, 4, 4, kChannels}, 200.0f), true);
  Tape tape;
  const TapeScope recording(tape);
  const Variable output = norm(input);
  tape.backward(ops::content_loss(output, Tensor::full(output.shape(), 1.0f)));
  EXPECT_TRUE(test::equals(output.value(), Tensor::zeros(output.shape())));
  for (const float value : input.grad().span<float>()) ASSERT_TRUE(std::isfinite(value));
}

// Its output need not be kept for the gradient of what reads it.
TEST(InstanceNorm, ItsRecordedOutputIsComputedAnewToTheSameBytes) {
  const Variable input(random_uniform({2, 5, 7, kChannels}, 4, -3.0f, 9.0f), true);
  const Variable weight(random_uniform({2, kChannels}, 5)), bias(random_uniform({2, kChannels}, 6));
  EXPECT_FALSE(ops::instance_norm(input, weight, bias, 1e-5f, Activation::relu).recompute());
  Tape tape;
  const TapeScope recording(tape);
  for (const Activation activation : {Activation::none, Activation::relu}) {
    const Variable output = ops::instance_norm(input, weight, bias, 1e-5f, activation);
    ASSERT_TRUE(output.recompute());
    const Saved saved(output);
    EXPECT_TRUE(same_bytes(saved.get("test"), output.value()));
    EXPECT_FALSE(saved.get("test").shares_storage_with(output.value()));
  }
  const Variable picture(random_uniform({1, 19, 7, kChannels}, 7), true);
  const Variable output = ops::instance_norm(picture, Variable(), Variable(), 1e-5f, Activation::relu);
  EXPECT_TRUE(same_bytes(Saved(output).rows("test", 9, 18), rows_of(output.value(), 9, 18).clone()));
}

TEST(BatchNorm, TrainingUsesTheBatchAndMovesTheRunningStatistics) {
  BatchNorm norm(kChannels, {.momentum = 0.25f});
  const Tensor input = random_uniform({kBatch, 4, 5, kChannels}, 3, 2.0f, 5.0f);
  const Tensor output = norm(Variable(input)).value();
  const auto buffers = norm.named_buffers();
  ASSERT_EQ(buffers[0].first, "running_mean");
  ASSERT_EQ(buffers[1].first, "running_var");
  const double count = kBatch * 4 * 5;
  for (int64_t c = 0; c < kChannels; ++c) {
    const Statistics result = statistics(output, 0, kBatch, c), batch = statistics(input, 0, kBatch, c);
    EXPECT_NEAR(result.mean, 0.0, 1e-6);
    EXPECT_NEAR(result.variance, 1.0, 1e-4);
    const auto i = static_cast<size_t>(c);
    EXPECT_NEAR(buffers[0].second.span<float>()[i], 0.25 * batch.mean, 1e-5);
    EXPECT_NEAR(buffers[1].second.span<float>()[i], 0.75 + 0.25 * batch.variance * count / (count - 1), 1e-5);
  }
}

TEST(BatchNorm, EvaluationUsesTheRunningStatisticsAndLeavesThem) {
  BatchNorm norm(2, {.eps = 1e-3f});
  SafetensorsContent state = norm.state();
  const std::vector<std::vector<float>> values = {{2, -1}, {0.5f, 3}, {10, 20}, {4, 0.25f}};
  for (size_t i = 0; i < 4; ++i) state.tensors[i].second = Tensor::from(values[i], {2});
  norm.load_state(state);
  norm.train(false);
  const Tensor input = random_uniform({2, 3, 3, 2}, 4, 0.0f, 30.0f);
  std::vector<double> expected;
  for (int64_t i = 0; i < input.count(); ++i) {
    const auto c = static_cast<size_t>(i % 2);
    const double scale = values[0][c] / std::sqrt(values[3][c] + 1e-3);
    expected.push_back(scale * (input.span<float>()[static_cast<size_t>(i)] - values[2][c]) + values[1][c]);
  }
  EXPECT_LT(normalised_error(norm(Variable(input)).value(), expected), 1e-6);
  EXPECT_TRUE(test::equals(norm.named_buffers()[0].second, {10, 20}));
}

TEST(BatchNorm, RunningStatisticsSurviveAStateAndAMove) {
  BatchNorm trained(kChannels);
  trained(Variable(random_uniform({kBatch, 4, 4, kChannels}, 5)));
  BatchNorm moved = std::move(trained), restored(kChannels);
  moved(Variable(random_uniform({kBatch, 4, 4, kChannels}, 6)));
  restored.load_state(moved.state());
  restored.train(false);
  moved.train(false);
  const Variable input(random_uniform({1, 3, 3, kChannels}, 7));
  EXPECT_TRUE(same_bytes(restored(input).value(), moved(input).value()));
}

TEST(BatchNorm, TrainingBetweenEvaluationAndItsBackwardPassIsNoticed) {
  BatchNorm norm(kChannels);
  norm.train(false);
  const Variable input(random_uniform({2, 3, 3, kChannels}, 8), true);
  Tape tape;
  const TapeScope recording(tape);
  const Variable loss = ops::sum(norm(input));
  norm.train();
  norm(input);
  EXPECT_TRUE(throws_error([&] { tape.backward(loss); }, "overwritten"));
}

TEST(BatchNorm, WithoutParametersItKeepsItsBuffers) {
  BatchNorm norm(kChannels, {.affine = false});
  EXPECT_TRUE(norm.named_parameters().empty());
  EXPECT_EQ(norm.named_buffers().size(), 2u);
}

TEST(Norms, ReluCanBeFused) {
  const Variable input(random_uniform({2, 4, 4, kChannels}, 9));
  for (const NormKind kind : {NormKind::instance, NormKind::batch}) {
    const auto norm = make_norm(kind, kChannels);
    const Tensor plain = ops::relu(norm->forward(input)).value();
    EXPECT_TRUE(same_bytes(norm->forward_activated(input, Activation::relu).value(), plain));
  }
}

TEST(Norms, ArgumentsOutOfRangeAreRefused) {
  EXPECT_TRUE(throws_error([] { InstanceNorm norm(0); }, "[instance_norm] 0 channels"));
  EXPECT_TRUE(throws_error([] { InstanceNorm norm(3, 0.0f); }, "eps 0"));
  EXPECT_TRUE(throws_error([] { BatchNorm norm(0); }, "[batch_norm] 0 channels"));
  EXPECT_TRUE(throws_error([] { BatchNorm norm(3, {.momentum = 1.5f}); }, "momentum 1.5"));
  InstanceNorm norm(3);
  EXPECT_TRUE(throws_error([&] { norm(Variable(Tensor::zeros({1, 4, 4, 5}))); }, "[instance_norm]"));
  EXPECT_TRUE(throws_error([&] { norm(Variable(Tensor::zeros({4, 3}))); }, "must be [n,h,w,c]"));
}

}  // namespace
}  // namespace minidl::layers
