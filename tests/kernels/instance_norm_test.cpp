#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/instance_norm.h>
#include <support/accumulation.h>
#include <support/compare.h>
#include <support/device.h>
#include <support/masks.h>
#include <support/norm_reference.h>
#include <support/random_tensors.h>
#include <support/threads.h>

namespace minidl {
namespace {

using test::normalised_error;
using test::NormReference;
using test::random_integers;
using test::random_uniform;
using test::throws_error;

constexpr float kEps = 1e-5f;

const std::vector<Shape> kShapes = {{1, 1, 3, 1},  {1, 5, 7, 3},   {3, 4, 3, 4},    {2, 9, 8, 33},
                                    {1, 1, 3, 70}, {2, 1, 3, 140}, {2, 61, 83, 16}, {1, 200, 150, 3}};

struct Normalised {
  Tensor output, mean, rstd;
};

Normalised normalise(const Tensor& input, const Tensor& weight, const Tensor& bias,
                     Activation activation = Activation::none) {
  const Shape statistics{input.shape()[0], input.shape()[3]};
  Normalised result{Tensor::full(input.shape(), NAN), Tensor::full(statistics, NAN), Tensor::full(statistics, NAN)};
  ON_DEVICE(instance_norm_forward)(input, weight, bias, kEps, activation, result.output, result.mean, result.rstd);
  return result;
}

/// weight and bias of either form.
std::vector<Shape> weight_shapes(const Shape& input) {
  return {{input[3]}, {input[0], input[3]}};
}

// Values -3 and 1 in equal numbers: mean -1, variance 4; with weight 2 * sqrt(4 + eps) and bias 5 the output is 1
// and 9.
TEST(InstanceNorm, IsExactOnIntegers) {
  const int64_t c = 5;
  Tensor input = Tensor::empty({2, 4, 6, c});
  for (int64_t i = 0; i < input.count(); ++i) input.data<float>()[i] = (i / c + i % c) % 2 ? 1.0f : -3.0f;
  const Normalised result = normalise(input, Tensor::full({c}, 2.0f * std::sqrt(4.0f + kEps)), Tensor::full({c}, 5.0f));
  EXPECT_TRUE(test::equals(result.mean, std::vector<double>(2 * c, -1.0)));
  for (int64_t i = 0; i < input.count(); ++i) {
    EXPECT_NEAR(result.output.span<float>()[i], input.span<float>()[i] > 0.0f ? 9.0f : 1.0f, 2e-6f) << i;
  }
}

TEST(InstanceNorm, AgreesWithTheDefinition) {
  for (const Shape& shape : kShapes) {
    for (const Shape& weight_shape : weight_shapes(shape)) {
      const Tensor input = random_uniform(shape, 1, -3.0f, 5.0f);
      const Tensor weight = random_uniform(weight_shape, 2), bias = random_uniform(weight_shape, 3);
      const NormReference reference(input, shape[0], kEps);
      const Normalised plain = normalise(input, weight, bias), relu = normalise(input, weight, bias, Activation::relu);
      EXPECT_LT(normalised_error(plain.mean, reference.mean), 1e-7) << shape.str();
      EXPECT_LT(normalised_error(plain.rstd, reference.rstd), 1e-7) << shape.str();
      EXPECT_LT(normalised_error(plain.output, reference.forward(weight, bias, false)), 3e-7) << shape.str();
      EXPECT_LT(normalised_error(relu.output, reference.forward(weight, bias, true)), 3e-7) << shape.str();
    }
  }
}

/// The residual before the activation, and the bytes of a norm and a sum.
TEST(InstanceNorm, AResidualIsAddedInTheSamePass) {
  for (const Shape& shape : kShapes) {
    const Tensor input = random_uniform(shape, 24, -3.0f, 5.0f), residual = random_uniform(shape, 25);
    const Tensor weight = random_uniform({shape[3]}, 26), bias = random_uniform({shape[3]}, 27);
    const Normalised plain = normalise(input, weight, bias);
    for (const Activation activation : {Activation::none, Activation::relu}) {
      Tensor expected = Tensor::full(shape, NAN);
      ON_DEVICE(add_scaled)(1.0f, plain.output, 1.0f, residual, expected);
      if (activation == Activation::relu) ON_DEVICE(relu_forward)(expected, expected);
      Tensor output = Tensor::full(shape, NAN), over_input = input.clone(), over_residual = residual.clone();
      Tensor mean = plain.mean.clone(), rstd = plain.rstd.clone();
      const auto add = [&](const Tensor& x, const Tensor& added, Tensor& result) {
        ON_DEVICE(instance_norm_forward)(x, weight, bias, kEps, activation, result, mean, rstd, added);
        return test::same_bytes(result, expected);
      };
      EXPECT_TRUE(add(input, residual, output)) << shape.str();
      EXPECT_TRUE(add(over_input, residual, over_input)) << shape.str();
      EXPECT_TRUE(add(input, over_residual, over_residual)) << shape.str();
      EXPECT_TRUE(test::same_bytes(mean, plain.mean) && test::same_bytes(rstd, plain.rstd));
    }
  }
}

TEST(InstanceNorm, AnOutputOf16BitsIsTheRoundedOne) {
  const Tensor input = random_uniform({2, 7, 5, 12}, 28, -3.0f, 5.0f), weight = random_uniform({12}, 29);
  const Normalised plain = normalise(input, weight, weight, Activation::relu);
  for (const Dtype type : {Dtype::bf16, Dtype::f16}) {
    Tensor output = Tensor::empty(input.shape(), type), mean = plain.mean.clone(), rstd = plain.rstd.clone();
    ON_DEVICE(instance_norm_forward)(input, weight, weight, kEps, Activation::relu, output, mean, rstd);
    EXPECT_TRUE(test::same_bytes(output, plain.output.to(type)));
  }
}

TEST(InstanceNorm, BackwardAgreesWithTheDefinition) {
  for (const Shape& shape : kShapes) {
    for (const Shape& weight_shape : weight_shapes(shape)) {
      const Tensor input = random_uniform(shape, 4, -3.0f, 5.0f), grad_output = random_uniform(shape, 5);
      const Tensor weight = random_uniform(weight_shape, 6), bias = random_uniform(weight_shape, 7);
      const Normalised result = normalise(input, weight, bias);
      Tensor grad_input = Tensor::full(shape, NAN), grad_weight = Tensor::full(weight_shape, NAN),
             grad_bias = grad_weight.clone();
      ON_DEVICE(instance_norm_backward)
      (input, weight, result.mean, result.rstd, grad_output,
       NormGrads{&grad_input, {}, &grad_weight, 0.0f, &grad_bias, 0.0f});
      const auto expected = NormReference(input, shape[0], kEps).backward(weight, grad_output);
      EXPECT_LT(normalised_error(grad_input, expected.input), 1e-6) << shape.str();
      EXPECT_LT(normalised_error(grad_weight, expected.weight), 1e-6) << shape.str();
      EXPECT_LT(normalised_error(grad_bias, expected.bias), 1e-6) << shape.str();
    }
  }
}

TEST(InstanceNorm, ALargeMeanBesideASmallVarianceIsAccurate) {
  const Shape shape{2, 37, 41, 6};
  Tensor input = random_uniform(shape, 8, -1.0f, 1.0f);
  for (float& x : input.span<float>()) x += 1e4f;  // steps of 2^-10
  const Tensor weight = random_uniform({6}, 9), bias = random_uniform({6}, 10), grad_output = random_uniform(shape, 11);
  const NormReference reference(input, 2, kEps);
  const Normalised result = normalise(input, weight, bias);
  EXPECT_LT(normalised_error(result.rstd, reference.rstd), 1e-7);
  EXPECT_LT(normalised_error(result.output, reference.forward(weight, bias, false)), 1e-6);
  Tensor grad_input = Tensor::full(shape, NAN), grad_weight = Tensor::full({6}, NAN);
  ON_DEVICE(instance_norm_backward)
  (input, weight, result.mean, result.rstd, grad_output,
   NormGrads{.grad_input = &grad_input, .grad_weight = &grad_weight});
  const auto expected = reference.backward(weight, grad_output);
  EXPECT_LT(normalised_error(grad_input, expected.input), 1e-6);
  EXPECT_LT(normalised_error(grad_weight, expected.weight), 1e-6);
}

TEST(InstanceNorm, AConstantPictureGivesTheBias) {
  const Tensor weight = Tensor::full({3}, 2.0f), bias = Tensor::from(std::vector<float>{1.0f, -2.0f, 0.5f}, {3});
  for (const Shape& shape : {Shape{1, 1, 1, 3}, Shape{2, 5, 4, 3}}) {
    const Normalised result = normalise(Tensor::full(shape, 0.1f), weight, bias);
    for (int64_t i = 0; i < result.output.count(); ++i) {
      EXPECT_NEAR(result.output.span<float>()[i], bias.span<float>()[i % 3], 1e-5f);
    }
  }
}

// Its output does not depend on the input.
TEST(InstanceNorm, OnePositionHasNoGradient) {
  const Tensor input = random_uniform({2, 1, 1, 37}, 22), weight = random_uniform({37}, 23);
  const Normalised result = normalise(input, weight, weight);
  Tensor grad_input = Tensor::full(input.shape(), NAN);
  ON_DEVICE(instance_norm_backward)
  (input, weight, result.mean, result.rstd, input, NormGrads{.grad_input = &grad_input});
  EXPECT_TRUE(test::equals(grad_input, std::vector<double>(2 * 37, 0.0)));
}

/// The derivative of <grad_output, output> by central differences in f64.
TEST(InstanceNorm, BackwardAgreesWithFiniteDifferences) {
  const Shape shape{2, 3, 4, 2};
  const Tensor input = random_uniform(shape, 12, -2.0f, 2.0f), grad_output = random_uniform(shape, 13);
  const Tensor weight = random_uniform({2, 2}, 14), bias = random_uniform({2, 2}, 15);
  const Normalised result = normalise(input, weight, bias);
  Tensor grad_input = Tensor::full(shape, NAN);
  ON_DEVICE(instance_norm_backward)
  (input, weight, result.mean, result.rstd, grad_output, NormGrads{.grad_input = &grad_input});
  const auto loss_at = [&](int64_t i, float step) {
    Tensor moved = input.clone();
    moved.data<float>()[i] += step;
    const std::vector<double> y = NormReference(moved, 2, kEps).forward(weight, bias, false);
    double sum = 0.0;
    for (size_t j = 0; j < y.size(); ++j) sum += y[j] * grad_output.span<float>()[j];
    return sum;
  };
  const float step = 0x1p-9f;
  std::vector<double> differences;
  for (int64_t i = 0; i < input.count(); ++i)
    differences.push_back((loss_at(i, step) - loss_at(i, -step)) / (2.0 * step));
  EXPECT_LT(normalised_error(grad_input, differences), 1e-4);
}

TEST(InstanceNorm, GradientsAccumulateAndMask) {
  for (const Shape& shape : kShapes) {
    const Tensor input = random_uniform(shape, 16), grad_output = random_uniform(shape, 17),
                 weight = random_uniform({shape[3]}, 18);
    const Normalised result = normalise(input, weight, weight);
    EXPECT_TRUE(test::accumulates(shape, [&](const Accumulate& how, Tensor& grad) {
      ON_DEVICE(instance_norm_backward)
      (input, weight, result.mean, result.rstd, grad_output, NormGrads{.grad_input = &grad, .how = how});
    }));
    Tensor fresh_weight = Tensor::full({shape[3]}, NAN), fresh_bias = Tensor::full({shape[3]}, NAN);
    Tensor grad_weight = Tensor::full({shape[3]}, 8.0f), grad_bias = Tensor::full({shape[3]}, 4.0f);
    ON_DEVICE(instance_norm_backward)
    (input, weight, result.mean, result.rstd, grad_output,
     NormGrads{.grad_weight = &fresh_weight, .grad_bias = &fresh_bias});
    ON_DEVICE(instance_norm_backward)
    (input, weight, result.mean, result.rstd, grad_output,
     NormGrads{.grad_weight = &grad_weight, .weight_beta = 0.5f, .grad_bias = &grad_bias, .bias_beta = 1.0f});
    for (int64_t c = 0; c < shape[3]; ++c) {
      EXPECT_NEAR(grad_weight.span<float>()[c], 4.0f + fresh_weight.span<float>()[c], 1e-4f);
      EXPECT_NEAR(grad_bias.span<float>()[c], 4.0f + fresh_bias.span<float>()[c], 1e-4f);
    }
  }
}

TEST(InstanceNorm, NanStays) {
  Tensor input = random_uniform({2, 4, 4, 3}, 19);
  input.data<float>()[4] = NAN;  // picture 0, channel 1
  const Normalised result = normalise(input, Tensor::full({3}, 1.0f), Tensor::zeros({3}), Activation::relu);
  for (int64_t i = 0; i < input.count(); ++i) {
    EXPECT_EQ(std::isnan(result.output.span<float>()[i]), i < 48 && i % 3 == 1) << i;
  }
}

TEST(InstanceNorm, BytesDoNotDependOnThreads) {
  for (const Shape& shape : {Shape{2, 67, 71, 33}, Shape{1, 231, 240, 3}}) {
    const Tensor input = random_uniform(shape, 20), weight = random_uniform({shape[3]}, 21);
    EXPECT_TRUE(test::same_for_all_threads([&] { return normalise(input, weight, weight).output; }));
    const Normalised result = normalise(input, weight, weight);
    const BitMask mask = test::positive(input);
    EXPECT_TRUE(test::same_for_all_threads([&] {
      Tensor grad = Tensor::full(shape, 1.0f), grad_weight = Tensor::zeros({shape[3]});
      ON_DEVICE(instance_norm_backward)
      (input, weight, result.mean, result.rstd, result.output,
       NormGrads{.grad_input = &grad, .how = {0.5f, &mask}, .grad_weight = &grad_weight});
      return shape[3] == 3 ? grad : grad_weight;
    }));
  }
}

TEST(InstanceNorm, ADeviceTakesSoManyPictures) {
  if (test::on_cpu()) GTEST_SKIP() << "the CPU takes any number";
  const Tensor weight = Tensor::full({1}, 1.0f), bias = Tensor::full({1}, 2.0f);
  const Tensor most = normalise(Tensor::zeros({65535, 1, 1, 1}), weight, bias).output;
  EXPECT_EQ(most.span<float>()[65534], 2.0f);
  EXPECT_TRUE(throws_error(
      [&] {
        normalise(Tensor::zeros({65536, 1, 1, 1}), weight, bias);
      },
      "65536 pictures at once are too many"));
}

TEST(InstanceNorm, BadArgumentsAreNamed) {
  const Tensor x = Tensor::zeros({2, 3, 3, 4}), weight = Tensor::zeros({4}), wrong = Tensor::zeros({3}), undefined;
  Tensor output = Tensor::zeros({2, 3, 3, 4}), mean = Tensor::zeros({2, 4}), rstd = Tensor::zeros({2, 4}),
         small = Tensor::zeros({4});
  const auto forward = [&](const Tensor& in, const Tensor& w, const Tensor& b, float eps) {
    ON_DEVICE(instance_norm_forward)(in, w, b, eps, Activation::none, output, mean, rstd);
  };
  EXPECT_TRUE(throws_error([&] { forward(wrong, weight, weight, kEps); }, "[instance_norm] input has shape [3]"));
  EXPECT_TRUE(throws_error(
      [&] {
        forward(Tensor::zeros({1, 0, 3, 4}), weight, weight, kEps);
      },
      "[instance_norm] input [1,0,3,4] is empty"));
  EXPECT_TRUE(throws_error([&] { forward(x, weight, weight, 0.0f); }, "[instance_norm] eps is 0, it must be positive"));
  EXPECT_TRUE(
      throws_error([&] { forward(x, wrong, weight, kEps); }, "[instance_norm] weight has shape [3], it must be [4]"));
  EXPECT_TRUE(throws_error(
      [&] {
        forward(x, Tensor::zeros({3, 4}), weight, kEps);
      },
      "weight has shape [3,4], it must be [2,4]"));
  EXPECT_TRUE(throws_error([&] { forward(x, undefined, weight, kEps); }, "[instance_norm] weight is undefined"));
  EXPECT_TRUE(
      throws_error([&] { forward(x, weight, mean, kEps); }, "[instance_norm] bias has shape [2,4], it must be [4]"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(instance_norm_forward)
        (x, weight, weight, kEps, Activation::none, small, mean, rstd);
      },
      "output"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(instance_norm_forward)
        (x, weight, weight, kEps, Activation::none, output, small, rstd);
      },
      "mean"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(instance_norm_forward)
        (x, weight, weight, kEps, Activation::none, output, mean, small);
      },
      "rstd"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(instance_norm_forward)
        (x, weight, weight, kEps, Activation::none, output, mean, rstd, weight);
      },
      "[instance_norm] residual has shape [4], it must be [2,3,3,4]"));
  const auto backward = [&](const Tensor& grad, const NormGrads& grads) {
    ON_DEVICE(instance_norm_backward)(x, weight, mean, rstd, grad, grads);
  };
  EXPECT_TRUE(throws_error([&] { backward(weight, {}); }, "[instance_norm] grad_output"));
  EXPECT_TRUE(throws_error([&] { backward(x, {.grad_input = &small}); }, "[instance_norm] grad_input"));
  const BitMask wrong_mask = test::positive(mean);
  EXPECT_TRUE(throws_error(
      [&] {
        backward(x, {.grad_input = &output, .how = {0.0f, &wrong_mask}});
      },
      "[instance_norm] relu_mask"));
  EXPECT_TRUE(throws_error([&] { backward(x, {.grad_weight = &mean}); },
                           "[instance_norm] grad_weight has shape [2,4], it must be [4]"));
  EXPECT_TRUE(throws_error([&] { backward(x, {.grad_bias = &output}); }, "[instance_norm] grad_bias"));
}

}  // namespace
}  // namespace minidl
