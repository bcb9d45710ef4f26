#include <minidl/kernels/elementwise.h>
#include <support/accumulation.h>
#include <support/compare.h>
#include <support/device.h>
#include <support/halves.h>
#include <support/masks.h>
#include <support/random_tensors.h>
#include <support/threads.h>

#include <limits>

namespace minidl {
namespace {

using test::accumulates;
using test::equals;
using test::random_integers;
using test::random_uniform;
using test::throws_error;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// Around the widths of vectors and the size of a chunk.
const std::vector<Shape> kShapes = {{0},  {1},           {3},          {4},     {7, 1},    {16},
                                    {17}, {1, 5, 3, 33}, {3, 2, 2, 4}, {16384}, {2, 16387}};

/// f64 [n].
Tensor doubles(const std::vector<double>& values) {
  Tensor x = Tensor::empty({std::ssize(values)}, Dtype::f64);
  std::copy(values.begin(), values.end(), x.data<double>());
  return x;
}

std::vector<double> expected(const Tensor& x, const std::function<double(double)>& f) {
  std::vector<double> values;
  for (const float value : x.span<float>()) values.push_back(f(value));
  return values;
}

std::vector<double> expected(const Tensor& x, const Tensor& y, const std::function<double(double, double)>& f) {
  std::vector<double> values;
  for (int64_t i = 0; i < x.count(); ++i) values.push_back(f(x.span<float>()[i], y.span<float>()[i]));
  return values;
}

TEST(Elementwise, IsExactOnIntegers) {
  for (const Shape& shape : kShapes) {
    const Tensor x = random_integers(shape, 1), y = random_integers(shape, 2);
    Tensor output = Tensor::full(shape, kNan);
    ON_DEVICE(add_scaled)(2.0f, x, -0.5f, y, output);
    EXPECT_TRUE(equals(output, expected(x, y, [](double a, double b) { return 2.0 * a - 0.5 * b; })));
    ON_DEVICE(multiply)(x, y, output);
    EXPECT_TRUE(equals(output, expected(x, y, [](double a, double b) { return a * b; })));
    ON_DEVICE(affine)(3.0f, x, -1.0f, output);
    EXPECT_TRUE(equals(output, expected(x, [](double a) { return 3.0 * a - 1.0; })));
    ON_DEVICE(relu_forward)(x, output);
    EXPECT_TRUE(equals(output, expected(x, [](double a) { return std::max(0.0, a); })));
    output.copy_from(x);
    ON_DEVICE(clamp)(output, -2.0f, 1.0f);
    EXPECT_TRUE(equals(output, expected(x, [](double a) { return std::clamp(a, -2.0, 1.0); })));
  }
}

TEST(Elementwise, ACombinationIsExactOnIntegers) {
  for (const Shape& shape : kShapes) {
    for (const size_t terms : {0u, 1u, 7u, 8u, 9u, 19u, 300u}) {
      if (terms > 19 && shape.count() > 300) continue;
      std::vector<Tensor> x;
      std::vector<double> a;
      const Tensor first = random_integers(shape, 40);
      std::vector<double> sums = test::to_doubles(first);
      for (double& sum : sums) sum *= -0.5;
      for (size_t k = 0; k < terms; ++k) {
        x.push_back(random_integers(shape, 41 + k));
        a.push_back(static_cast<double>(k % 5) - 1.5);
        for (size_t i = 0; i < sums.size(); ++i) sums[i] += a[k] * static_cast<double>(x[k].span<float>()[i]);
      }
      Tensor output = Tensor::full(shape, kNan), in_place = first.clone();
      ON_DEVICE(combination)(-0.5f, first, doubles(a), x, output);
      EXPECT_TRUE(equals(output, sums)) << terms;
      ON_DEVICE(combination)(-0.5f, in_place, doubles(a), x, in_place);
      EXPECT_TRUE(equals(in_place, sums)) << terms;
    }
  }
}

TEST(Elementwise, ADifferenceMayHaveAComputedFactor) {
  const Tensor x = random_integers({7, 33}, 50), y = random_integers({7, 33}, 51);
  Tensor expected = random_integers({7, 33}, 52), actual = test::copy_on_device(expected.clone());
  Tensor computed = Tensor::zeros({1}, Dtype::f64);
  computed.data<double>()[0] = -1.5;
  Factor factor(computed.to(test::device()));
  factor.value = 2.0f;
  accumulate_difference(-3.0f, x, y, {1.0f}, expected);
  accumulate_difference(factor, test::copy_on_device(x), test::copy_on_device(y), {1.0f}, actual);
  EXPECT_TRUE(equals(actual.to(Device::cpu()), expected));
}

TEST(Elementwise, ACombinationOfBf16IsThatOfItsValues) {
  for (const Shape& shape : kShapes) {
    for (const size_t terms : {1u, 8u, 19u}) {
      std::vector<Tensor> x, rounded;
      std::vector<double> a;
      for (size_t k = 0; k < terms; ++k) {
        x.push_back(random_uniform(shape, 41 + k));
        rounded.push_back(test::to_bf16(x[k]));
        x[k] = test::from_bf16(rounded[k]);
        a.push_back(static_cast<double>(k % 5) - 1.7);
      }
      const Tensor first = random_uniform(shape, 40);
      Tensor output = Tensor::full(shape, kNan), of_values = output.clone();
      ON_DEVICE(combination)(0.7f, first, doubles(a), rounded, output);
      ON_DEVICE(combination)(0.7f, first, doubles(a), x, of_values);
      EXPECT_TRUE(test::same_bytes(output, of_values)) << terms;
    }
  }
}

TEST(Elementwise, ACombinationIsRoundedOnce) {
  // 2^25 + 1 - 2^25: lost in f32, within eight terms and across them.
  const Tensor large = Tensor::full({21}, 33554432.0f), one = Tensor::full({21}, 1.0f);
  Tensor output = Tensor::zeros({21});
  ON_DEVICE(combination)(1.0f, output, doubles({1, 1, -1}), std::vector{large, one, large}, output);
  EXPECT_TRUE(equals(output, one));
  std::vector<Tensor> x(10, large);
  x[3] = one;
  ON_DEVICE(combination)(1.0f, output, doubles({1, 1, 1, 1, 1, -1, -1, -1, -1, 0}), x, output);
  EXPECT_TRUE(equals(output, Tensor::full({21}, 2.0f)));
}

TEST(Elementwise, PositiveMaskHasABitForEachElement) {
  for (const Shape& shape : {Shape{}, Shape{0}, Shape{7}, Shape{8}, Shape{3, 41}, Shape{2, 129, 129, 3}}) {
    Tensor x = random_integers(shape, 12, -1, 1);
    if (x.count() > 3) x.data<float>()[3] = kNan;
    const BitMask mask = test::positive(x);
    const BitSpan tail = mask.span().from(5);
    for (int64_t i = 0; i < x.count(); ++i) {
      ASSERT_EQ(mask.span()[i], x.span<float>()[i] > 0.0f) << i << " of " << shape.str();
    }
    for (int64_t i = 5; i < x.count(); ++i) {
      ASSERT_EQ(tail[i - 5], mask.span()[i]) << i << " of " << shape.str();
    }
  }
}

TEST(Elementwise, GradientWritersAreExactOnIntegers) {
  for (const Shape& shape : kShapes) {
    const Tensor x = random_integers(shape, 3), y = random_integers(shape, 4);
    Tensor target = Tensor::full(shape, kNan);
    ON_DEVICE(accumulate_scaled)(-3.0f, x, Accumulate{}, target);
    EXPECT_TRUE(equals(target, expected(x, [](double a) { return -3.0 * a; })));
    ON_DEVICE(accumulate_difference)(2.0f, x, y, Accumulate{}, target);
    EXPECT_TRUE(equals(target, expected(x, y, [](double a, double b) { return 2.0 * (a - b); })));
    ON_DEVICE(accumulate_product)(x, y, Accumulate{}, target);
    EXPECT_TRUE(equals(target, expected(x, y, [](double a, double b) { return a * b; })));
  }
}

TEST(Elementwise, GradientWritersAccumulateAndMask) {
  for (const Shape& shape : kShapes) {
    const Tensor x = random_integers(shape, 5), y = random_integers(shape, 6);
    EXPECT_TRUE(accumulates(shape, [&](const Accumulate& how, Tensor& target) {
      ON_DEVICE(accumulate_scaled)(2.0f, x, how, target);
    }));
    EXPECT_TRUE(accumulates(shape, [&](const Accumulate& how, Tensor& target) {
      ON_DEVICE(accumulate_difference)(0.5f, x, y, how, target);
    }));
    EXPECT_TRUE(accumulates(shape, [&](const Accumulate& how, Tensor& target) {
      ON_DEVICE(accumulate_product)(x, y, how, target);
    }));
    EXPECT_TRUE(accumulates(shape, [&](const Accumulate& how, Tensor& target) {
      ON_DEVICE(tanh_backward)(x, 8.0f, y, how, target);
    }));
  }
}

TEST(Elementwise, AddsAVectorToEveryChannel) {
  for (const Shape& shape :
       {Shape{5}, Shape{4, 1}, Shape{2, 3, 5, 3}, Shape{1, 2, 2, 33}, Shape{0, 4}, Shape{3, 0}, Shape{1, 4, 5000, 4}}) {
    const int64_t channels = shape[shape.rank() - 1];
    const Tensor x = random_integers(shape, 7), b = random_integers({channels}, 8);
    Tensor output = Tensor::full(shape, kNan);
    ON_DEVICE(add_per_channel)(-2.0f, x, b, output);
    for (int64_t i = 0; i < x.count(); ++i) {
      ASSERT_EQ(output.span<float>()[i], -2.0f * x.span<float>()[i] + b.span<float>()[i % channels])
          << shape.str() << " at " << i;
    }
  }
}

TEST(Elementwise, AnOutputMayBeAnInput) {
  const Tensor x = random_integers({3, 37}, 9), y = random_integers({3, 37}, 10);
  const auto in_place = [&](const std::function<void(Tensor&)>& compute) {
    Tensor both = x.clone();
    compute(both);
    return both;
  };
  EXPECT_TRUE(equals(in_place([&](Tensor& t) {
                       ON_DEVICE(add_scaled)
                       (2.0f, t, 3.0f, y, t);
                     }),
                     expected(x, y, [](double a, double b) { return 2.0 * a + 3.0 * b; })));
  EXPECT_TRUE(equals(in_place([&](Tensor& t) {
                       ON_DEVICE(add_scaled)
                       (2.0f, y, 3.0f, t, t);
                     }),
                     expected(x, y, [](double a, double b) { return 3.0 * a + 2.0 * b; })));
  EXPECT_TRUE(equals(in_place([](Tensor& t) {
                       ON_DEVICE(multiply)
                       (t, t, t);
                     }),
                     expected(x, [](double a) { return a * a; })));
  EXPECT_TRUE(equals(in_place([](Tensor& t) {
                       ON_DEVICE(affine)
                       (2.0f, t, 1.0f, t);
                     }),
                     expected(x, [](double a) { return 2.0 * a + 1.0; })));
  EXPECT_TRUE(equals(in_place([](Tensor& t) {
                       ON_DEVICE(relu_forward)
                       (t, t);
                     }),
                     expected(x, [](double a) { return std::max(a, 0.0); })));
  EXPECT_TRUE(equals(in_place([&](Tensor& t) {
                       ON_DEVICE(accumulate_product)(t, y, Accumulate{1.0f, nullptr}, t);
                     }),
                     expected(x, y, [](double a, double b) { return a + a * b; })));
}

TEST(Elementwise, KeepsNan) {
  Tensor x = Tensor::zeros({37});
  for (const int64_t at : {0, 20, 36}) x.data<float>()[at] = kNan;
  x.data<float>()[1] = kInfinity;
  x.data<float>()[2] = -kInfinity;
  Tensor output = Tensor::zeros({37});
  const auto check = [&](float at_infinity, float at_minus_infinity) {
    for (const int64_t at : {0, 20, 36}) EXPECT_TRUE(std::isnan(output.span<float>()[at])) << at;
    EXPECT_EQ(output.span<float>()[1], at_infinity);
    EXPECT_EQ(output.span<float>()[2], at_minus_infinity);
  };
  ON_DEVICE(relu_forward)(x, output);
  check(kInfinity, 0.0f);
  output.copy_from(x);
  ON_DEVICE(clamp)(output, -7.0f, 9.0f);
  check(9.0f, -7.0f);
  ON_DEVICE(tanh_forward)(x, 3.0f, output);
  check(3.0f, -3.0f);
}

TEST(Elementwise, ClampReachesInfiniteBounds) {
  Tensor x = Tensor::from(std::vector<float>{-5.0f, 0.0f, 5.0f}, {3});
  ON_DEVICE(clamp)(x, -kInfinity, 1.0f);
  EXPECT_TRUE(equals(x, {-5.0, 0.0, 1.0}));
  ON_DEVICE(clamp)(x, 1.0f, 1.0f);
  EXPECT_TRUE(equals(x, {1.0, 1.0, 1.0}));
}

TEST(Elementwise, TanhIsAccurate) {
  const Tensor x = random_uniform({4, 1001}, 11, -6.0f, 6.0f);
  Tensor output = Tensor::full(x.shape(), kNan);
  ON_DEVICE(tanh_forward)(x, 150.0f, output);
  for (int64_t i = 0; i < x.count(); ++i) {
    const double exact = 150.0 * std::tanh(static_cast<double>(x.span<float>()[i]));
    ASSERT_NEAR(output.span<float>()[i], exact, 5e-7 * std::abs(exact)) << x.span<float>()[i];
  }
}

TEST(Elementwise, TanhGradientAgreesWithFiniteDifferences) {
  const float scale = 150.0f;
  const Tensor x = random_uniform({333}, 12, -2.0f, 2.0f), grad_output = random_uniform({333}, 13);
  Tensor output = Tensor::empty(x.shape()), grad_input = Tensor::full(x.shape(), kNan);
  ON_DEVICE(tanh_forward)(x, scale, output);
  ON_DEVICE(tanh_backward)(output, scale, grad_output, Accumulate{}, grad_input);
  std::vector<double> differences;
  for (int64_t i = 0; i < x.count(); ++i) {
    const double h = 1e-5, at = x.span<float>()[i];
    differences.push_back(grad_output.span<float>()[i] * scale * (std::tanh(at + h) - std::tanh(at - h)) / (2.0 * h));
  }
  EXPECT_LT(test::normalised_error(grad_input, differences), 1e-6);
}

TEST(Elementwise, BytesDoNotDependOnThreads) {
  const Tensor x = random_uniform({5, 20011}, 14, -3.0f, 3.0f), y = random_uniform({5, 20011}, 15);
  const BitMask mask = test::positive(x);
  EXPECT_TRUE(test::same_for_all_threads([&] {
    Tensor output = Tensor::full(x.shape(), 1.0f);
    ON_DEVICE(add_scaled)(0.3f, x, 0.7f, y, output);
    ON_DEVICE(tanh_forward)(output, 150.0f, output);
    ON_DEVICE(accumulate_product)(x, y, Accumulate{0.9f, &mask}, output);
    ON_DEVICE(combination)(1.0f, output, doubles(std::vector<double>(9, 0.3)), std::vector<Tensor>(9, x), output);
    return output;
  }));
}

TEST(Elementwise, ZerosHaveTheSameSignOnEveryDevice) {
  const Tensor zeros = Tensor::from(std::vector<float>{0.0f, -0.0f}, {2});
  Tensor output = Tensor::full({2}, NAN);
  ON_DEVICE(relu_forward)(zeros, output);
  EXPECT_TRUE(test::same_bytes(output, Tensor::zeros({2})));
  for (const auto& [low, high] : {std::pair{0.0f, 1.0f}, {-1.0f, -0.0f}, {-0.0f, 0.0f}}) {
    output = zeros.clone();
    ON_DEVICE(clamp)(output, low, high);
    EXPECT_TRUE(test::same_bytes(output, zeros)) << low << " to " << high;
  }
}

TEST(Elementwise, BadArgumentsAreNamed) {
  const Tensor x = Tensor::zeros({2, 3}), other = Tensor::zeros({3, 2}), bytes = Tensor::zeros({2, 3}, Dtype::u8);
  Tensor output = Tensor::zeros({2, 3}), wrong = Tensor::zeros({6}), undefined;
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(add_scaled)
        (1.0f, x, 1.0f, other, output);
      },
      "[add_scaled] y has shape [3,2], it must be [2,3]"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(add_scaled)
        (1.0f, x, 1.0f, x, wrong);
      },
      "[add_scaled] output has shape [6]"));
  const std::vector<Tensor> itself{output}, others{other};
  const Tensor one = doubles({1.0}), two = doubles({1.0, 2.0});
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(combination)
        (1.0f, x, one, itself, output);
      },
      "[combination] output is one of"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(combination)
        (1.0f, x, one, others, output);
      },
      "[combination] y has shape [3,2]"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(combination)
        (1.0f, x, two, others, output);
      },
      "the factors are [2] of f64, they must be [1] of f64"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(multiply)
        (bytes, x, output);
      },
      "[multiply] x [2,3] holds u8, it must be f32"));
  EXPECT_TRUE(throws_error([&] { ON_DEVICE(affine)(1.0f, x, 0.0f, undefined); }, "[affine] output is undefined"));
  EXPECT_TRUE(throws_error([&] { ON_DEVICE(relu_forward)(undefined, output); }, "[relu] input is undefined"));
  EXPECT_TRUE(throws_error([&] { ON_DEVICE(tanh_forward)(x, 1.0f, wrong); }, "[tanh] output"));
  EXPECT_TRUE(throws_error([&] { ON_DEVICE(tanh_backward)(x, 0.0f, x, Accumulate{}, output); }, "[tanh] scale is 0"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(tanh_backward)
        (x, 1.0f, other, Accumulate{}, output);
      },
      "[tanh] grad_output"));
  const BitMask wrong_mask = test::positive(other);
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(accumulate_scaled)(1.0f, x, Accumulate{0.0f, &wrong_mask}, output);
      },
      "[accumulate_scaled] relu_mask"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(accumulate_difference)
        (1.0f, x, other, Accumulate{}, output);
      },
      "[accumulate_difference] y"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(accumulate_product)
        (x, x, Accumulate{}, wrong);
      },
      "[accumulate_product] target"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(add_per_channel)
        (1.0f, x, Tensor::zeros({2}), output);
      },
      "[add_per_channel] b has shape [2], it must be [3]"));
  Tensor scalar = Tensor::zeros({});
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(add_per_channel)
        (1.0f, scalar, scalar, scalar);
      },
      "[add_per_channel] x is a scalar"));
  EXPECT_TRUE(throws_error([&] { ON_DEVICE(clamp)(output, 2.0f, 1.0f); }, "[clamp] low 2 is above high 1"));
  EXPECT_TRUE(throws_error([&] { ON_DEVICE(clamp)(output, kNan, 1.0f); }, "[clamp]"));
}

}  // namespace
}  // namespace minidl
