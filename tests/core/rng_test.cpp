#include <minidl/core/rng.h>
#include <support/compare.h>
#include <support/threads.h>

#include <set>

namespace minidl {
namespace {

using test::same_bytes;
using test::throws_error;

using Words = std::array<uint32_t, 4>;

TEST(Rng, PhiloxGivesItsAuthorsKnownAnswers) {
  // philox4x32-10 of the Random123 distribution. Counter words are (counter, stream), the key is the seed, low words
  // first.
  EXPECT_EQ(Rng::philox(0, 0, 0), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const uint64_t ones = ~uint64_t{0};
  EXPECT_EQ(Rng::philox(ones, ones, ones), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Rng::philox(0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Rng, BitsAreTheWordsOfConsecutiveBlocks) {
  Rng rng(7, 3);
  for (uint64_t block = 0; block < 3; ++block) {
    for (const uint32_t word : Rng::philox(7, 3, block)) EXPECT_EQ(rng.bits(), word);
  }
  EXPECT_EQ(rng.position(), 12u);
  EXPECT_EQ(rng.seed(), 7u);
  EXPECT_EQ(rng.stream(), 3u);
}

TEST(Rng, ContinuesFromItsPosition) {
  Rng rng(5, 9);
  for (int i = 0; i < 7; ++i) rng.bits();
  Rng resumed(rng.seed(), rng.stream());
  resumed.set_position(rng.position());
  for (int i = 0; i < 20; ++i) EXPECT_EQ(rng.bits(), resumed.bits());
}

TEST(Rng, SeedsAndStreamsDiffer) {
  EXPECT_NE(Rng(1).bits(), Rng(2).bits());
  EXPECT_NE(Rng(1, 0).bits(), Rng(1, 1).bits());
  EXPECT_NE(Rng(1, 0).bits(), Rng(1, uint64_t{1} << 32).bits());
  EXPECT_NE(Rng(0).bits(), Rng(uint64_t{1} << 32).bits());
}

TEST(Rng, UniformIsAMultipleOfTwoToTheMinus24BelowOne) {
  Rng rng(11);
  double sum = 0;
  const int count = 20000;
  for (int i = 0; i < count; ++i) {
    const float value = rng.uniform();
    ASSERT_GE(value, 0.0f);
    ASSERT_LT(value, 1.0f);
    const float steps = value * 0x1p24f;
    ASSERT_EQ(steps, std::floor(steps));
    sum += value;
  }
  EXPECT_NEAR(sum / count, 0.5, 4 * std::sqrt(1.0 / 12 / count));
}

TEST(Rng, BelowIsUniformAndInRange) {
  Rng rng(12);
  std::array<int, 7> hits{};
  const int count = 7000;
  for (int i = 0; i < count; ++i) ++hits.at(rng.below(7));
  for (const int hit : hits) EXPECT_NEAR(hit, 1000, 150);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(rng.below(1), 0u);
  const uint64_t large = (uint64_t{1} << 63) + 12345;  // nearly half of all words are rejected
  for (int i = 0; i < 1000; ++i) EXPECT_LT(rng.below(large), large);
  EXPECT_TRUE(throws_error([&] { rng.below(0); }, "[rng]"));
}

TEST(Rng, FillsUniformlyInTheRangeAskedFor) {
  Rng rng(13);
  Tensor x = Tensor::empty({100000});
  rng.fill_uniform(x, -2.0f, 6.0f);
  double sum = 0, squares = 0;
  for (const float value : x.span<float>()) {
    ASSERT_GE(value, -2.0f);
    ASSERT_LT(value, 6.0f);
    sum += value;
    squares += static_cast<double>(value) * value;
  }
  const double mean = sum / 100000, variance = squares / 100000 - mean * mean;
  EXPECT_NEAR(mean, 2.0, 4 * 8 / std::sqrt(12.0 * 100000));
  EXPECT_NEAR(variance, 64.0 / 12, 0.05);
}

TEST(Rng, NeverFillsWithTheUpperEnd) {
  Rng rng(14);
  Tensor x = Tensor::empty({20000});
  const float low = 1e7f, high = 1e7f + 2;  // two values apart: most sums round
  rng.fill_uniform(x, low, high);
  for (const float value : x.span<float>()) ASSERT_TRUE(value == low || value == 1e7f + 1);
  rng.fill_uniform(x, 3.0f, 3.0f);
  for (const float value : x.span<float>()) ASSERT_EQ(value, 3.0f);
}

TEST(Rng, NormalHasTheMomentsOfANormalDistribution) {
  Rng rng(15);
  const int64_t count = 200000;
  Tensor x = Tensor::empty({count});
  rng.fill_normal(x, 10.0f, 3.0f);
  double moments[5] = {};
  int64_t inside = 0;
  for (const float value : x.span<float>()) {
    const double z = (value - 10.0) / 3.0;
    ASSERT_LT(std::abs(z), 7);
    inside += std::abs(z) < 1;
    for (int power = 1; power <= 4; ++power) moments[power] += std::pow(z, power) / static_cast<double>(count);
  }
  EXPECT_NEAR(moments[1], 0, 0.01);
  EXPECT_NEAR(moments[2], 1, 0.015);
  EXPECT_NEAR(moments[3], 0, 0.03);
  EXPECT_NEAR(moments[4], 3, 0.1);
  EXPECT_NEAR(static_cast<double>(inside) / static_cast<double>(count), 0.6827, 0.005);
}

TEST(Rng, NeighboursAreNotCorrelated) {
  Rng rng(16);
  const int64_t count = 100000;
  Tensor x = Tensor::empty({count});
  rng.fill_normal(x, 0.0f, 1.0f);
  const std::span<const float> values = x.span<float>();
  for (const int64_t lag : {1, 2, 3, 4}) {
    double sum = 0;
    for (int64_t i = lag; i < count; ++i) sum += static_cast<double>(values[i]) * values[i - lag];
    EXPECT_NEAR(sum / static_cast<double>(count), 0, 0.013) << lag;
  }
}

TEST(Rng, AFillTakesWholeBlocksAndDoesNotRepeat) {
  Rng rng(17);
  rng.bits();
  Tensor x = Tensor::empty({5}), y = Tensor::empty({4});
  rng.fill_uniform(x, 0.0f, 1.0f);
  EXPECT_EQ(rng.position(), 12u);  // words 4 to 11
  rng.fill_uniform(y, 0.0f, 1.0f);
  EXPECT_EQ(rng.position(), 16u);
  std::set<float> values(x.span<float>().begin(), x.span<float>().end());
  values.insert(y.span<float>().begin(), y.span<float>().end());
  EXPECT_EQ(values.size(), 9u);
  Tensor none = Tensor::empty({0});
  rng.fill_normal(none, 0.0f, 1.0f);
  EXPECT_EQ(rng.position(), 16u);
}

TEST(Rng, AnElementDoesNotDependOnTheLengthOfTheFill) {
  Tensor longer = Tensor::empty({50001}), shorter = Tensor::empty({1003});
  Rng(18).fill_normal(longer, 0.0f, 1.0f);
  Rng(18).fill_normal(shorter, 0.0f, 1.0f);
  EXPECT_TRUE(same_bytes(longer.slice(0, 1003), shorter));
}

TEST(Rng, ThreadsDoNotChangeTheResult) {
  EXPECT_TRUE(test::same_for_all_threads([] {
    Tensor x = Tensor::empty({50003});
    Rng(19).fill_normal(x, 0.0f, 1.0f);
    return x;
  }));
}

}  // namespace
}  // namespace minidl
