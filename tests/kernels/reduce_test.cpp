#include <minidl/kernels/reduce.h>
#include <support/compare.h>
#include <support/device.h>
#include <support/halves.h>
#include <support/masks.h>
#include <support/random_tensors.h>
#include <support/threads.h>

#include <algorithm>
#include <limits>

namespace minidl {
namespace {

using test::equals;
using test::random_integers;
using test::random_uniform;
using test::throws_error;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// Around the 16 partial sums and the size of a block.
const std::vector<Shape> kShapes = {{0}, {1}, {3}, {15}, {16}, {17}, {2, 3, 5, 33}, {16384}, {16385}, {3, 20001}};

TEST(Reduce, IsExactOnIntegers) {
  for (const Shape& shape : kShapes) {
    const Tensor x = random_integers(shape, 1), y = random_integers(shape, 2);
    double plain = 0.0, product = 0.0, squares = 0.0, absolute = 0.0, distance = 0.0, largest = 0.0;
    for (int64_t i = 0; i < x.count(); ++i) {
      const double a = x.span<float>()[i], b = y.span<float>()[i];
      plain += a;
      product += a * b;
      squares += a * a;
      absolute += std::abs(a);
      distance += (a - b) * (a - b);
      largest = std::max(largest, std::abs(a));
    }
    EXPECT_EQ(ON_DEVICE(sum)(x), plain) << shape.str();
    EXPECT_EQ(ON_DEVICE(dot)(x, y), product) << shape.str();
    EXPECT_EQ(ON_DEVICE(squared_norm)(x), squares) << shape.str();
    EXPECT_EQ(ON_DEVICE(absolute_sum)(x), absolute) << shape.str();
    EXPECT_EQ(ON_DEVICE(squared_distance)(x, y), distance) << shape.str();
    EXPECT_EQ(ON_DEVICE(max_abs)(x), largest) << shape.str();
  }
}

TEST(Reduce, ADistanceWithItsGradient) {
  for (const Shape& shape : kShapes) {
    const Tensor x = random_integers(shape, 1), y = random_integers(shape, 2);
    const BitMask mask = test::positive(random_uniform(shape, 3));
    double distance = 0.0;
    for (int64_t i = 0; i < x.count(); ++i)
      distance += std::pow(static_cast<double>(x.span<float>()[i]) - static_cast<double>(y.span<float>()[i]), 2);
    for (const BitMask* relu_mask : {static_cast<const BitMask*>(nullptr), &mask}) {
      Tensor gradient = Tensor::full(shape, NAN);
      const Tensor value =
          ON_DEVICE(squared_distance_and_gradient)(x, y, 0.5, Factor(2.0f), Factor(-4.0f), relu_mask, gradient);
      EXPECT_EQ(value.item(), static_cast<float>(distance)) << shape.str();
      for (int64_t i = 0; i < x.count(); ++i) {
        const bool passes = !relu_mask || mask.span()[i];
        EXPECT_EQ(gradient.span<float>()[i], passes ? -4.0f * (x.span<float>()[i] - y.span<float>()[i]) : 0.0f) << i;
      }
    }
  }
}

double squares_of(const std::vector<Tensor>& x) {
  return squared_norm_number(x).get();
}

/// Fewer tensors than a launch takes and more, of sizes around a block's.
TEST(Reduce, SquaresOfSeveralTensorsTogether) {
  EXPECT_EQ(squares_of({}), 0.0);
  for (const size_t count : {size_t{1}, size_t{3}, size_t{128}, size_t{259}}) {
    std::vector<Tensor> x;
    double expected = 0.0;
    for (size_t i = 0; i < count; ++i) {
      x.push_back(random_integers({static_cast<int64_t>(i % 5 == 4 ? 4096 + i % 3 : i % 7)}, 50 + i));
      for (const float value : x.back().span<float>()) expected += static_cast<double>(value) * value;
    }
    EXPECT_EQ(ON_DEVICE(squares_of)(x), expected) << count;
  }
  const std::vector<Tensor> mixed{Tensor::zeros({2}), Tensor::zeros({2}, Dtype::f64)};
  EXPECT_TRUE(throws_error([&] { ON_DEVICE(squares_of)(mixed); }, "[squared_norm] x [2] holds f64"));
}

/// More blocks than the second pass has threads.
TEST(Reduce, IsExactOverManyBlocks) {
  const Tensor x = random_integers({1200007}, 9);
  double plain = 0.0, largest = 9.0;
  for (const float value : x.span<float>()) plain += static_cast<double>(value);
  EXPECT_EQ(ON_DEVICE(sum)(x), plain);
  double squares = 0.0;
  for (const float value : x.span<float>()) squares += static_cast<double>(value) * value;
  EXPECT_EQ(ON_DEVICE(squares_of)(std::vector<Tensor>{x}), squares);
  for (const int64_t at : {0, 600000, 1100000, 1200006}) {
    Tensor y = x.clone();
    y.data<float>()[at] = static_cast<float>(largest);
    EXPECT_EQ(ON_DEVICE(max_abs)(y), largest) << at;
  }
}

TEST(Reduce, FindsTheLargestAnywhere) {
  for (const int64_t count : {1, 5, 16, 37, 16384 + 21}) {
    for (const int64_t at : {int64_t{0}, count / 2, count - 1}) {
      Tensor x = random_integers({count}, 3);
      x.data<float>()[at] = -9.0f;
      EXPECT_EQ(ON_DEVICE(max_abs)(x), 9.0f) << count << " at " << at;
      EXPECT_TRUE(ON_DEVICE(all_finite)(x));
      x.data<float>()[at] = -kInfinity;
      EXPECT_EQ(ON_DEVICE(max_abs)(x), kInfinity) << count << " at " << at;
      EXPECT_FALSE(ON_DEVICE(all_finite)(x));
      x.data<float>()[at] = -kNan;
      EXPECT_TRUE(std::isnan(ON_DEVICE(max_abs)(x))) << count << " at " << at;
      EXPECT_FALSE(ON_DEVICE(all_finite)(x));
    }
  }
  EXPECT_TRUE(ON_DEVICE(all_finite)(Tensor::full({20}, std::numeric_limits<float>::max())));
  EXPECT_TRUE(ON_DEVICE(all_finite)(Tensor::empty({0})));
}

TEST(Reduce, SumsInDoublePrecision) {
  const int64_t count = 300001;
  const Tensor x = random_uniform({count}, 4, 0.0f, 1000.0f), y = random_uniform({count}, 5, -1.0f, 1.0f);
  long double product = 0.0L, magnitude = 0.0L;
  for (int64_t i = 0; i < count; ++i) {
    const long double term = static_cast<long double>(x.span<float>()[i]) * y.span<float>()[i];
    product += term;
    magnitude += std::abs(term);
  }
  EXPECT_NEAR(ON_DEVICE(dot)(x, y), static_cast<double>(product), 1e-14 * static_cast<double>(magnitude));
  // 2^25 + 1 - 2^25: lost in f32.
  EXPECT_EQ(ON_DEVICE(sum)(Tensor::from(std::vector<float>{33554432.0f, 1.0f, -33554432.0f}, {3})), 1.0);
  EXPECT_EQ(ON_DEVICE(squared_norm)(Tensor::full({4}, 1e30f)),
            4.0 * static_cast<double>(1e30f) * static_cast<double>(1e30f));
}

void expect_products(const std::vector<Tensor>& x, const std::vector<Tensor>& y, const Tensor& products) {
  const double* product = products.data<double>();
  for (size_t j = 0; j < y.size(); ++j) {
    for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(*product++, ON_DEVICE(dot)(x[i], y[j])) << x[0].shape().str();
  }
}

Tensor not_numbers(const Shape& shape) {
  Tensor x = Tensor::empty(shape, Dtype::f64);
  std::fill_n(x.data<double>(), x.count(), std::numeric_limits<double>::quiet_NaN());
  return x;
}

TEST(Reduce, ManyDotsAreThoseOfEachPair) {
  for (const Shape& shape : kShapes) {
    std::vector<Tensor> x, y;
    for (uint64_t i = 0; i < 5; ++i) x.push_back(random_uniform(shape, 20 + i));
    for (uint64_t j = 0; j < 3; ++j) y.push_back(random_uniform(shape, 30 + j));
    Tensor products = not_numbers({3, 5});
    ON_DEVICE(dots)(x, y, products);
    expect_products(x, y, products);
  }
  Tensor none = Tensor::empty({0, 0}, Dtype::f64);
  dots({}, {}, none);
}

TEST(Reduce, DotsOfBf16AreThoseOfItsValues) {
  for (const Shape& shape : kShapes) {
    std::vector<Tensor> x, rounded, y;
    for (uint64_t i = 0; i < 5; ++i) {
      x.push_back(random_uniform(shape, 20 + i));
      rounded.push_back(test::to_bf16(x[i]));
      x[i] = test::from_bf16(rounded[i]);
    }
    for (uint64_t j = 0; j < 3; ++j) y.push_back(random_uniform(shape, 30 + j));
    Tensor products = not_numbers({3, 5});
    ON_DEVICE(dots)(rounded, y, products);
    expect_products(x, y, products);
  }
}

TEST(Reduce, SumsPerChannel) {
  for (const Shape& shape : {Shape{5}, Shape{4, 1}, Shape{3, 7, 5, 3}, Shape{1, 2, 2, 33}, Shape{0, 4}, Shape{3, 0},
                             Shape{2, 300, 300, 4}, Shape{681, 3}, Shape{2049, 1}, Shape{19, 301}, Shape{5, 1028}}) {
    const int64_t channels = shape[shape.rank() - 1];
    const Tensor x = random_integers(shape, 6);
    std::vector<double> sums(static_cast<size_t>(channels)), twice_more;
    for (int64_t i = 0; i < x.count(); ++i) sums[static_cast<size_t>(i % channels)] += x.span<float>()[i];
    for (const double value : sums) twice_more.push_back(2.0 * value + value);
    Tensor output = Tensor::full({channels}, kNan);
    ON_DEVICE(sum_per_channel)(x, 0.0f, output);
    EXPECT_TRUE(equals(output, sums));
    ON_DEVICE(sum_per_channel)(x, 2.0f, output);
    EXPECT_TRUE(equals(output, twice_more));
  }
}

TEST(Reduce, ChannelMomentsAreThoseOfTheDefinition) {
  for (const Shape& shape : {Shape{5}, Shape{1, 3}, Shape{2, 41, 37, 3}, Shape{70, 33}, Shape{9, 140}, Shape{2, 64, 64, 40}}) {
    const int64_t c = shape[shape.rank() - 1], count = shape.count() / c;
    Tensor x = random_uniform(shape, 3);
    for (float& value : x.span<float>()) value += 100.0f;  // a mean beside which the deviation is small
    std::vector<double> mean(static_cast<size_t>(c)), variance(mean.size());
    ON_DEVICE(channel_moments)(x, mean, variance);
    for (int64_t channel = 0; channel < c; ++channel) {
      double sum = 0.0, squares = 0.0;
      for (int64_t i = 0; i < count; ++i) sum += std::as_const(x).data<float>()[i * c + channel];
      for (int64_t i = 0; i < count; ++i) {
        const double difference = std::as_const(x).data<float>()[i * c + channel] - sum / static_cast<double>(count);
        squares += difference * difference;
      }
      const auto at = static_cast<size_t>(channel);
      EXPECT_NEAR(mean[at], sum / static_cast<double>(count), 1e-12 * 100.0);
      EXPECT_NEAR(variance[at], squares / static_cast<double>(count), 1e-12 * variance[at]);
    }
  }
  std::vector<double> two(2);
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(channel_moments)(Tensor::zeros({0, 2}), two, two);
      },
      "at least one position"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(channel_moments)(Tensor::zeros({4, 3}), two, two);
      },
      "2 and 2 places for 3 channels"));
}

TEST(Reduce, BytesDoNotDependOnThreads) {
  const Tensor x = random_uniform({4, 101, 103, 3}, 7), y = random_uniform({4, 101, 103, 3}, 8);
  EXPECT_TRUE(test::same_for_all_threads([&] {
    std::vector<double> results = {ON_DEVICE(sum)(x),
                                   ON_DEVICE(dot)(x, y),
                                   ON_DEVICE(squared_norm)(x),
                                   ON_DEVICE(absolute_sum)(x),
                                   ON_DEVICE(squared_distance)(x, y),
                                   ON_DEVICE(max_abs)(x)};
    Tensor products = Tensor::empty({2, 2}, Dtype::f64);
    ON_DEVICE(dots)(std::vector{x, y}, std::vector{x, y}, products);
    results.insert(results.end(), products.data<double>(), products.data<double>() + 4);
    Tensor bytes = Tensor::empty({static_cast<int64_t>(results.size())}, Dtype::f64);
    std::copy(results.begin(), results.end(), bytes.data<double>());
    return bytes;
  }));
  EXPECT_TRUE(test::same_for_all_threads([&] {
    Tensor output = Tensor::zeros({3});
    ON_DEVICE(sum_per_channel)(x, 1.0f, output);
    return output;
  }));
}

TEST(Reduce, BadArgumentsAreNamed) {
  const Tensor x = Tensor::zeros({2, 3}), other = Tensor::zeros({6}), undefined, bytes = Tensor::zeros({3}, Dtype::u8);
  EXPECT_TRUE(throws_error([&] { ON_DEVICE(sum)(undefined); }, "[sum] x is undefined"));
  EXPECT_TRUE(throws_error([&] { ON_DEVICE(dot)(x, other); }, "[dot] y has shape [6], it must be [2,3]"));
  EXPECT_TRUE(throws_error([&] { ON_DEVICE(squared_norm)(bytes); }, "[squared_norm] x [3] holds u8, it must be f32"));
  EXPECT_TRUE(throws_error([&] { ON_DEVICE(absolute_sum)(bytes); }, "[absolute_sum] x"));
  EXPECT_TRUE(throws_error([&] { ON_DEVICE(max_abs)(bytes); }, "[max_abs] x"));
  EXPECT_TRUE(throws_error([&] { ON_DEVICE(squared_distance)(other, x); }, "[squared_distance] y"));
  EXPECT_TRUE(throws_error([&] { ON_DEVICE(all_finite)(undefined); }, "[all_finite] x"));
  Tensor one = Tensor::empty({1, 1}, Dtype::f64), four = Tensor::empty({2, 2}, Dtype::f64);
  const std::vector<Tensor> xs{x}, mixed{x, other}, none{undefined};
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(dots)
        (xs, xs, four);
      },
      "[dots] output is [2,2] of f64, it must be [1,1] of f64"));
  EXPECT_TRUE(throws_error([&] { ON_DEVICE(dots)(mixed, mixed, four); }, "[dots] x has shape [6], it must be [2,3]"));
  EXPECT_TRUE(throws_error([&] { ON_DEVICE(dots)(xs, none, one); }, "[dots] y is undefined"));
  const std::vector<Tensor> rounded{Tensor::zeros({2, 3}, Dtype::bf16)}, both{x, rounded[0]},
      f16{Tensor::zeros({2, 3}, Dtype::f16)};
  EXPECT_TRUE(throws_error([&] { ON_DEVICE(dots)(both, both, four); }, "holds bf16 beside f32"));
  EXPECT_TRUE(throws_error([&] { ON_DEVICE(dots)(f16, xs, one); }, "[dots] x [2,3] holds f16"));
  EXPECT_TRUE(throws_error([&] { ON_DEVICE(dots)(xs, rounded, one); }, "[dots] y [2,3] holds bf16"));
  Tensor scalar = Tensor::zeros({}), two = Tensor::zeros({2});
  EXPECT_TRUE(throws_error([&] { ON_DEVICE(sum_per_channel)(scalar, 0.0f, two); }, "[sum_per_channel] x is a scalar"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(sum_per_channel)
        (x, 0.0f, two);
      },
      "[sum_per_channel] output has shape [2], it must be [3]"));
}

}  // namespace
}  // namespace minidl
