#include <minidl/kernels/batch_norm.h>
#include <support/accumulation.h>
#include <support/compare.h>
#include <support/device.h>
#include <support/norm_reference.h>
#include <support/random_tensors.h>
#include <support/threads.h>

namespace minidl {
namespace {

using test::normalised_error;
using test::NormReference;
using test::random_uniform;
using test::throws_error;

constexpr float kEps = 1e-5f;

const std::vector<Shape> kShapes = {{3, 1, 1, 1}, {1, 5, 7, 3}, {3, 4, 3, 4}, {2, 9, 8, 33}, {2, 1, 3, 140}, {3, 61, 43, 16}};

/// What a training pass writes, from running statistics of mean 1 and variance 2.
struct Trained {
  explicit Trained(const Shape& shape)
      : output(Tensor::full(shape, NAN)),
        mean(Tensor::full({shape[3]}, NAN)),
        rstd(mean.clone()),
        running_mean(Tensor::full({shape[3]}, 1.0f)),
        running_variance(Tensor::full({shape[3]}, 2.0f)) {}
  Tensor output, mean, rstd, running_mean, running_variance;
};

Trained train(const Tensor& input, const Tensor& weight, const Tensor& bias, float momentum = 0.25f,
              Activation activation = Activation::none) {
  Trained result(input.shape());
  ON_DEVICE(batch_norm_forward_training)
  (input, weight, bias, kEps, activation, BatchNormRunning{result.running_mean, result.running_variance, momentum},
   result.output, result.mean, result.rstd);
  return result;
}

TEST(BatchNorm, TrainingAgreesWithTheDefinition) {
  for (const Shape& shape : kShapes) {
    const Tensor input = random_uniform(shape, 1, -3.0f, 5.0f), weight = random_uniform({shape[3]}, 2),
                 bias = random_uniform({shape[3]}, 3);
    const NormReference reference(input, 1, kEps);
    const Trained plain = train(input, weight, bias), relu = train(input, weight, bias, 0.25f, Activation::relu);
    EXPECT_LT(normalised_error(plain.output, reference.forward(weight, bias, false)), 3e-7) << shape.str();
    EXPECT_LT(normalised_error(relu.output, reference.forward(weight, bias, true)), 3e-7) << shape.str();
    EXPECT_LT(normalised_error(plain.mean, reference.mean), 1e-7) << shape.str();
    EXPECT_LT(normalised_error(plain.rstd, reference.rstd), 1e-7) << shape.str();
    const double count = static_cast<double>(shape[0] * shape[1] * shape[2]);
    std::vector<double> running_mean, running_variance;
    for (const double mean : reference.mean) running_mean.push_back(0.75 + 0.25 * mean);
    for (const double variance : reference.variance)
      running_variance.push_back(0.75 * 2.0 + 0.25 * variance * count / (count - 1.0));
    EXPECT_LT(normalised_error(plain.running_mean, running_mean), 1e-7) << shape.str();
    EXPECT_LT(normalised_error(plain.running_variance, running_variance), 1e-7) << shape.str();
  }
}

TEST(BatchNorm, OneValueHasNoVariance) {
  const Tensor one = Tensor::full({1}, 1.0f);
  const Trained result = train(Tensor::full({1, 1, 1, 1}, 7.0f), one, Tensor::full({1}, 3.0f), 0.5f);
  EXPECT_EQ(result.output.item(), 3.0f);
  EXPECT_EQ(result.running_mean.item(), 4.0f);
  EXPECT_EQ(result.running_variance.item(), 1.0f);
}

TEST(BatchNorm, MomentumZeroKeepsAndOneReplaces) {
  const Tensor input = random_uniform({2, 5, 5, 3}, 4), weight = Tensor::full({3}, 1.0f), bias = Tensor::zeros({3});
  EXPECT_TRUE(test::equals(train(input, weight, bias, 0.0f).running_variance, std::vector<double>(3, 2.0)));
  const Trained replaced = train(input, weight, bias, 1.0f);
  EXPECT_TRUE(test::equals(replaced.running_mean, replaced.mean));
}

TEST(BatchNorm, EvaluationUsesTheRunningStatistics) {
  for (const Shape& shape : kShapes) {
    const Tensor input = random_uniform(shape, 5, -3.0f, 5.0f), grad_output = random_uniform(shape, 6);
    const Tensor weight = random_uniform({shape[3]}, 7), bias = random_uniform({shape[3]}, 8);
    const Tensor mean = random_uniform({shape[3]}, 9), variance = random_uniform({shape[3]}, 10, 0.1f, 4.0f);
    NormReference reference(input, 1, kEps);
    reference.fix_statistics(mean, variance, kEps);
    Tensor output = Tensor::full(shape, NAN);
    ON_DEVICE(batch_norm_forward_evaluation)(input, weight, bias, mean, variance, kEps, Activation::none, output);
    EXPECT_LT(normalised_error(output, reference.forward(weight, bias, false)), 3e-7) << shape.str();
    ON_DEVICE(batch_norm_forward_evaluation)(input, weight, bias, mean, variance, kEps, Activation::relu, output);
    EXPECT_LT(normalised_error(output, reference.forward(weight, bias, true)), 3e-7) << shape.str();

    Tensor grad_input = Tensor::full(shape, NAN), grad_weight = Tensor::full({shape[3]}, NAN),
           grad_bias = grad_weight.clone();
    ON_DEVICE(batch_norm_backward_evaluation)
    (input, weight, mean, variance, kEps, grad_output,
     NormGrads{&grad_input, {}, &grad_weight, 0.0f, &grad_bias, 0.0f});
    const auto expected = reference.backward(weight, grad_output);
    EXPECT_LT(normalised_error(grad_input, expected.input), 3e-7) << shape.str();
    EXPECT_LT(normalised_error(grad_weight, expected.weight), 1e-6) << shape.str();
    EXPECT_LT(normalised_error(grad_bias, expected.bias), 1e-6) << shape.str();
    EXPECT_TRUE(test::accumulates(shape, [&](const Accumulate& how, Tensor& grad) {
      ON_DEVICE(batch_norm_backward_evaluation)
      (input, weight, mean, variance, kEps, grad_output, NormGrads{.grad_input = &grad, .how = how});
    }));
  }
}

TEST(BatchNorm, BackwardAgreesWithTheDefinition) {
  for (const Shape& shape : kShapes) {
    const Tensor input = random_uniform(shape, 11, -3.0f, 5.0f), grad_output = random_uniform(shape, 12),
                 weight = random_uniform({shape[3]}, 13);
    const Trained trained = train(input, weight, weight);
    Tensor grad_input = Tensor::full(shape, NAN), grad_weight = Tensor::full({shape[3]}, 2.0f),
           grad_bias = Tensor::full({shape[3]}, NAN);
    ON_DEVICE(batch_norm_backward)
    (input, weight, trained.mean, trained.rstd, grad_output,
     NormGrads{&grad_input, {}, &grad_weight, 0.5f, &grad_bias, 0.0f});
    auto expected = NormReference(input, 1, kEps).backward(weight, grad_output);
    for (double& value : expected.weight) value += 1.0;
    EXPECT_LT(normalised_error(grad_input, expected.input), 1e-6) << shape.str();
    EXPECT_LT(normalised_error(grad_weight, expected.weight), 1e-6) << shape.str();
    EXPECT_LT(normalised_error(grad_bias, expected.bias), 1e-6) << shape.str();
    EXPECT_TRUE(test::accumulates(shape, [&](const Accumulate& how, Tensor& grad) {
      ON_DEVICE(batch_norm_backward)
      (input, weight, trained.mean, trained.rstd, grad_output, NormGrads{.grad_input = &grad, .how = how});
    }));
  }
}

TEST(BatchNorm, ALargeMeanBesideASmallVarianceIsAccurate) {
  const Shape shape{3, 17, 19, 5};
  Tensor input = random_uniform(shape, 14);
  for (float& x : input.span<float>()) x -= 1e4f;
  const Tensor weight = random_uniform({5}, 15), grad_output = random_uniform(shape, 16);
  const NormReference reference(input, 1, kEps);
  const Trained trained = train(input, weight, weight);
  EXPECT_LT(normalised_error(trained.output, reference.forward(weight, weight, false)), 1e-6);
  Tensor grad_input = Tensor::full(shape, NAN);
  ON_DEVICE(batch_norm_backward)
  (input, weight, trained.mean, trained.rstd, grad_output, NormGrads{.grad_input = &grad_input});
  EXPECT_LT(normalised_error(grad_input, reference.backward(weight, grad_output).input), 1e-6);
}

TEST(BatchNorm, BytesDoNotDependOnThreads) {
  const Tensor input = random_uniform({3, 67, 71, 20}, 17), weight = random_uniform({20}, 18);
  EXPECT_TRUE(test::same_for_all_threads([&] { return train(input, weight, weight).output; }));
  EXPECT_TRUE(test::same_for_all_threads([&] { return train(input, weight, weight).running_variance; }));
}

TEST(BatchNorm, BadArgumentsAreNamed) {
  const Tensor x = Tensor::zeros({2, 3, 3, 4}), good = Tensor::full({4}, 1.0f), wrong = Tensor::zeros({3});
  Tensor output = x.clone(), mean = good.clone(), rstd = good.clone(), small = wrong.clone();
  const auto training = [&](const Tensor& input, const Tensor& weight, Tensor& running, float momentum) {
    ON_DEVICE(batch_norm_forward_training)
    (input, weight, good, kEps, Activation::none, BatchNormRunning{running, running, momentum}, output, mean, rstd);
  };
  EXPECT_TRUE(throws_error([&] { training(good, good, mean, 0.1f); }, "[batch_norm] input has shape [4]"));
  EXPECT_TRUE(throws_error(
      [&] {
        training(Tensor::zeros({0, 3, 3, 4}), good, mean, 0.1f);
      },
      "[batch_norm] input [0,3,3,4] is empty"));
  EXPECT_TRUE(
      throws_error([&] { training(x, wrong, mean, 0.1f); }, "[batch_norm] weight has shape [3], it must be [4]"));
  EXPECT_TRUE(throws_error([&] { training(x, good, small, 0.1f); }, "[batch_norm] running mean"));
  EXPECT_TRUE(
      throws_error([&] { training(x, good, mean, 1.5f); }, "[batch_norm] momentum is 1.5, it must be in [0, 1]"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(batch_norm_forward_evaluation)
        (x, good, good, good, wrong, kEps, Activation::none, output);
      },
      "[batch_norm] running variance"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(batch_norm_forward_evaluation)
        (x, good, good, good, good, -1.0f, Activation::none, output);
      },
      "eps is -1"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(batch_norm_forward_evaluation)
        (x, good, good, good, good, kEps, Activation::none, small);
      },
      "output"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(batch_norm_backward)
        (x, good, wrong, good, x, NormGrads{});
      },
      "[batch_norm] mean"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(batch_norm_backward)
        (x, good, good, good, good, NormGrads{});
      },
      "[batch_norm] grad_output"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(batch_norm_backward)
        (x, good, good, good, x, NormGrads{.grad_bias = &small});
      },
      "[batch_norm] grad_bias"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(batch_norm_backward_evaluation)
        (x, good, good, good, kEps, wrong, NormGrads{});
      },
      "[batch_norm] grad_output"));
}

}  // namespace
}  // namespace minidl
