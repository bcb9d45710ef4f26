#include <minidl/layers/init.h>
#include <support/compare.h>

namespace minidl::layers {
namespace {

using test::same_bytes;
using test::throws_error;

struct Moments {
  double mean = 0, variance = 0, largest = 0;
};

Moments moments(const Tensor& x) {
  Moments result;
  const std::span<const float> values = x.span<float>();
  for (const float value : values) {
    result.mean += value;
    result.variance += static_cast<double>(value) * value;
    result.largest = std::max(result.largest, std::abs(static_cast<double>(value)));
  }
  result.mean /= static_cast<double>(values.size());
  result.variance = result.variance / static_cast<double>(values.size()) - result.mean * result.mean;
  return result;
}

constexpr int64_t kOut = 64, kSide = 3, kIn = 128;  // 73,728 values: moments are known to about 1 %
const Shape kFilters{kOut, kSide, kSide, kIn};
constexpr double kFanIn = kSide * kSide * kIn, kFanOut = kSide * kSide * kOut;

void expect_variance(const Tensor& weight, double variance) {
  const Moments found = moments(weight);
  EXPECT_NEAR(found.variance, variance, 0.03 * variance);
  EXPECT_NEAR(found.mean, 0.0, 0.02 * std::sqrt(variance));
}

TEST(Init, FansCountTheConnections) {
  EXPECT_EQ(init::fans(kFilters).in, kFanIn);
  EXPECT_EQ(init::fans(kFilters).out, kFanOut);
  EXPECT_EQ(init::fans({10, 7}).in, 7);
  EXPECT_EQ(init::fans({10, 7}).out, 10);
  EXPECT_TRUE(throws_error([] { init::fans({5}); }, "no fans for shape [5]"));
  EXPECT_TRUE(throws_error([] { init::fans({5, 0}); }, "is empty"));
}

TEST(Init, NormalDistributionsHaveTheirVariance) {
  Rng rng(1);
  Tensor weight = Tensor::empty(kFilters);
  init::he_normal(weight, rng);
  expect_variance(weight, 2.0 / kFanIn);
  init::he_normal(weight, rng, 0.5);
  expect_variance(weight, 2.0 / (1.25 * kFanIn));
  init::xavier_normal(weight, rng);
  expect_variance(weight, 2.0 / (kFanIn + kFanOut));
}

TEST(Init, UniformDistributionsHaveTheirBoundAndVariance) {
  Rng rng(2);
  Tensor weight = Tensor::empty(kFilters);
  const auto expect_bound = [&](double bound) {
    expect_variance(weight, bound * bound / 3.0);
    const double largest = moments(weight).largest;
    EXPECT_LE(largest, bound * (1.0 + 1e-6));
    EXPECT_GE(largest, bound * 0.999);
  };
  init::he_uniform(weight, rng);
  expect_bound(std::sqrt(6.0 / kFanIn));
  init::xavier_uniform(weight, rng);
  expect_bound(std::sqrt(6.0 / (kFanIn + kFanOut)));
  init::he_uniform(weight, rng, std::sqrt(5.0));
  expect_bound(1.0 / std::sqrt(kFanIn));
  weight = default_weight(kFilters, rng);
  expect_bound(1.0 / std::sqrt(kFanIn));
}

TEST(Init, ABiasSharesTheBoundOfItsWeight) {
  Rng rng(3);
  const Tensor bias = default_bias({4096, 1, 1, 4}, rng);
  ASSERT_EQ(bias.shape(), Shape({4096}));
  EXPECT_LE(moments(bias).largest, 0.5);
  EXPECT_GE(moments(bias).largest, 0.499);
}

TEST(Init, ConstantFills) {
  Tensor values = Tensor::empty({3});
  init::constant(values, 2.5f);
  EXPECT_TRUE(test::equals(values, {2.5, 2.5, 2.5}));
}

TEST(Init, TheSameSeedGivesTheSameLayersAndEachLayerItsOwnNumbers) {
  const auto draw = [] {
    Rng rng = next_rng();
    return default_weight({8, 8}, rng);
  };
  seed(7);
  const Tensor first = draw(), second = draw();
  seed(7);
  EXPECT_TRUE(same_bytes(draw(), first));
  EXPECT_TRUE(same_bytes(draw(), second));
  EXPECT_FALSE(same_bytes(first, second));
  seed(8);
  EXPECT_FALSE(same_bytes(draw(), first));
}

}  // namespace
}  // namespace minidl::layers
