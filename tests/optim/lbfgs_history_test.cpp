#include <minidl/optim/lbfgs_history.h>
#include <support/halves.h>
#include <support/objectives.h>
#include <support/random_tensors.h>
#include <support/threads.h>

#include <deque>
#include <limits>

namespace minidl::optim {
namespace {

using test::from_bf16;
using test::random_uniform;
using test::same_bytes;
using test::throws_error;
using test::to_bf16;
using test::Vector;

double product(const Vector& x, const Vector& y) {
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
  return sum;
}

void add(double a, const Vector& x, Vector& target) {
  for (size_t i = 0; i < x.size(); ++i) target[i] += a * x[i];
}

/// M for tests: diagonal, between 1 and 5.
const Preconditioner weigh{[](const Tensor& x, float factor, Tensor& output) {
                             for (size_t i = 0; i < x.span<float>().size(); ++i)
                               output.span<float>()[i] = factor * static_cast<float>(1 + i % 5) * x.span<float>()[i];
                           },
                           {}};

/// -H g by the two loops as the book has them, vector by vector, in f64.
Vector two_loops(const std::deque<std::pair<Vector, Vector>>& pairs, double scale, bool weighted, const Vector& g) {
  Vector d = g, a(pairs.size());
  for (size_t i = pairs.size(); i-- > 0;) {
    const auto& [s, y] = pairs[i];
    a[i] = product(s, d) / product(s, y);
    add(-a[i], y, d);
  }
  for (size_t i = 0; i < d.size(); ++i) d[i] *= scale * static_cast<double>(weighted ? 1 + i % 5 : 1);
  for (size_t i = 0; i < pairs.size(); ++i) {
    const auto& [s, y] = pairs[i];
    add(a[i] - product(y, d) / product(s, y), s, d);
  }
  for (double& value : d) value = -value;
  return d;
}

struct Pair {
  Tensor s, y;
};

/// Of a quadratic with curvatures between 1 and 100, as the steps of a search would give them: y = diagonal * s.
Pair pair(int64_t count, uint64_t seed) {
  Pair made{random_uniform({count}, seed), Tensor::empty({count})};
  for (int64_t i = 0; i < count; ++i)
    made.y.data<float>()[i] = static_cast<float>(1 + 99 * i / count) * made.s.data<float>()[i];
  return made;
}

Tensor direction_of(LbfgsHistory& history, const Tensor& gradient) {
  Tensor direction = Tensor::full(gradient.shape(), std::numeric_limits<float>::quiet_NaN());
  const Tensor start = random_uniform(gradient.shape(), 91);
  Tensor position = Tensor::empty(gradient.shape()), products = Tensor::empty({2}, Dtype::f64);
  history.apply({gradient, start, direction, position, products});
  for (int64_t i = 0; i < gradient.count(); ++i)
    EXPECT_EQ(position.span<float>()[i], start.span<float>()[i] + direction.span<float>()[i]);
  const double* const values = products.data<double>();
  const double square = test::inner_product(direction, direction);
  EXPECT_NEAR(values[1], square, 1e-12 * square);
  EXPECT_NEAR(values[0], test::inner_product(gradient, direction),
              1e-12 * std::sqrt(square * test::inner_product(gradient, gradient)));
  return direction;
}

TEST(LbfgsHistory, IsTheTwoLoopRecursion) {
  for (const bool weighted : {false, true}) {
    for (const int capacity : {1, 3, 20}) {
      const int64_t count = 203;
      LbfgsHistory history(capacity, weighted ? weigh : Preconditioner());
      std::deque<std::pair<Vector, Vector>> pairs;
      for (uint64_t step = 0; step < 12; ++step) {
        const Pair made = pair(count, 2 * step + 1);
        ASSERT_TRUE(history.add(made.s.clone(), made.y.clone()));
        pairs.emplace_back(test::to_doubles(made.s), test::to_doubles(made.y));
        if (pairs.size() > static_cast<size_t>(capacity)) pairs.pop_front();
        if (step % 4 == 2) continue;  // the next apply() meets two new pairs
        const Tensor gradient = random_uniform({count}, 2 * step + 2);
        const Vector expected = two_loops(pairs, history.scale(), weighted, test::to_doubles(gradient));
        EXPECT_LT(test::normalised_error(direction_of(history, gradient), expected), 1e-6) << capacity << " " << step;
      }
    }
  }
}

TEST(LbfgsHistory, InBf16ItIsThatOfTheRoundedPairs) {
  const int64_t count = 40003;
  LbfgsHistory history(5, weigh, Dtype::bf16), given_bf16(5, weigh, Dtype::bf16), of_rounded(5, weigh);
  const Tensor gradient = random_uniform({count}, 90);
  for (uint64_t step = 0; step < 9; ++step) {
    const Pair made = pair(count, step);
    const Tensor s = to_bf16(made.s), y = to_bf16(made.y);
    ASSERT_TRUE(history.add(made.s, made.y));
    ASSERT_TRUE(given_bf16.add(s, y));
    ASSERT_TRUE(of_rounded.add(from_bf16(s), from_bf16(y)));
    EXPECT_EQ(history.scale(), of_rounded.scale());
    EXPECT_EQ(history.s().back().dtype(), Dtype::bf16);
    if (step % 4 == 2) continue;
    const Tensor direction = direction_of(history, gradient);
    EXPECT_TRUE(same_bytes(direction, direction_of(of_rounded, gradient))) << step;
    EXPECT_TRUE(same_bytes(direction, direction_of(given_bf16, gradient))) << step;
  }
}

TEST(LbfgsHistory, InF32ItTakesBf16) {
  LbfgsHistory history(2), of_values(2);
  const Pair made = pair(50, 1);
  const Tensor gradient = random_uniform({50}, 2), s = to_bf16(made.s), y = to_bf16(made.y);
  ASSERT_TRUE(history.add(s, y));
  ASSERT_TRUE(of_values.add(from_bf16(s), from_bf16(y)));
  EXPECT_EQ(history.y().back().dtype(), Dtype::f32);
  EXPECT_TRUE(same_bytes(direction_of(history, gradient), direction_of(of_values, gradient)));
}

TEST(LbfgsHistory, MapsTheNewestChangeOfTheGradientToThatOfThePosition) {
  LbfgsHistory history(8, weigh);
  for (uint64_t step = 0; step < 8; ++step) {
    const Pair made = pair(500, step);
    history.add(made.s.clone(), made.y.clone());
    Tensor expected = made.s.clone();
    for (float& value : expected.span<float>()) value = -value;
    EXPECT_LT(test::normalised_error(direction_of(history, made.y), test::to_doubles(expected)), 1e-5) << step;
  }
}

TEST(LbfgsHistory, WithoutPairsItIsTheScaledPreconditioner) {
  LbfgsHistory history(4, weigh);
  const Tensor gradient = test::random_integers({20}, 1);
  for (const double scale : {0.5, 4.0}) {
    history.restart(scale);
    EXPECT_TRUE(history.empty());
    const Tensor direction = direction_of(history, gradient);
    for (int64_t i = 0; i < 20; ++i)
      EXPECT_EQ(direction.span<float>()[i], -scale * static_cast<double>(1 + i % 5) * gradient.span<float>()[i]);
    const Pair made = pair(20, 3);
    history.add(made.s, made.y);
  }
}

/// A resumed run adds all pairs before it asks for a direction, the first one asked after each.
TEST(LbfgsHistory, DoesNotDependOnWhenPairsWereMet) {
  LbfgsHistory each(5, weigh), once(5, weigh);
  const Tensor gradient = random_uniform({40000}, 90);
  for (uint64_t step = 0; step < 9; ++step) {
    const Pair made = pair(40000, step);
    each.add(made.s, made.y);
    once.add(made.s, made.y);
    direction_of(each, gradient);
  }
  EXPECT_EQ(each.scale(), once.scale());
  EXPECT_TRUE(same_bytes(direction_of(each, gradient), direction_of(once, gradient)));
}

TEST(LbfgsHistory, KeepsOnlyPairsOfPositiveCurvatureAndTheNewest) {
  LbfgsHistory history(2);
  const Pair first = pair(30, 1), second = pair(30, 2), third = pair(30, 3);
  EXPECT_TRUE(history.add(first.s, first.y));
  Tensor against = first.y.clone();
  for (float& value : against.span<float>()) value = -value;
  const double scale = history.scale();
  EXPECT_FALSE(history.add(first.s, against));
  EXPECT_FALSE(history.add(first.s, Tensor::zeros({30})));
  EXPECT_FALSE(history.add(first.s, Tensor::full({30}, std::numeric_limits<float>::quiet_NaN())));
  EXPECT_EQ(history.scale(), scale);
  ASSERT_EQ(history.s().size(), 1u);
  history.add(second.s, second.y);
  history.add(third.s, third.y);
  ASSERT_EQ(history.s().size(), 2u);
  EXPECT_TRUE(history.s()[0].shares_storage_with(second.s));
  EXPECT_TRUE(history.y()[1].shares_storage_with(third.y));
}

TEST(LbfgsHistory, ThreadsDoNotChangeTheResult) {
  EXPECT_TRUE(test::same_for_all_threads([] {
    LbfgsHistory history(6, weigh);
    for (uint64_t step = 0; step < 10; ++step) {
      const Pair made = pair(50001, step);
      history.add(made.s, made.y);
    }
    return direction_of(history, random_uniform({50001}, 50));
  }));
}

TEST(LbfgsHistory, RefusesBadSettings) {
  EXPECT_TRUE(throws_error([] { LbfgsHistory(0); }, "history is 0"));
  EXPECT_TRUE(throws_error([] { LbfgsHistory(1, {}, Dtype::f16); }, "history_dtype is f16"));
}

}  // namespace
}  // namespace minidl::optim
