#include <minidl/optim/line_search.h>
#include <support/compare.h>

#include <limits>
#include <utility>

namespace minidl::optim {
namespace {

using test::throws_error;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

using Function = std::function<std::pair<double, double>(double)>;  // step -> loss, slope

LineSearch search(const Function& function, const LineSearchSettings& settings = {}) {
  const auto [loss, slope] = function(0);
  LineSearch search(settings, loss, slope);
  while (!search.finished()) {
    const auto [trial_loss, trial_slope] = function(search.next_step());
    search.add(trial_loss, trial_slope);
  }
  return search;
}

/// curvature / 2 * (step - minimum)^2
Function parabola(double minimum, double curvature = 1) {
  return [=](double step) {
    const double distance = step - minimum;
    return std::pair(curvature / 2 * distance * distance, curvature * distance);
  };
}

void expect_wolfe(const LineSearch& result, const Function& function) {
  const LinePoint& best = result.best();
  const auto [loss, slope] = function(0);
  EXPECT_GT(best.step, 0);
  EXPECT_EQ(best.loss, function(best.step).first);
  EXPECT_LE(best.loss, loss + 1e-4 * best.step * slope);
  EXPECT_GE(best.slope, 0.9 * slope);
}

TEST(LineSearch, AcceptsTheUnitStepAtItsFirstEvaluation) {
  for (const double minimum : {0.6, 1.0, 1.7, 9.0}) {
    const LineSearch result = search(parabola(minimum));
    EXPECT_EQ(result.evaluations(), 1) << minimum;
    EXPECT_EQ(result.best().step, 1) << minimum;
  }
}

TEST(LineSearch, FindsTheMinimumOfAParabolaThatTheUnitStepLeapsOver) {
  const LineSearch result = search(parabola(0.3));
  EXPECT_EQ(result.evaluations(), 2);
  EXPECT_NEAR(result.best().step, 0.3, 1e-12);
}

TEST(LineSearch, ExtendsAStepThatIsFarTooShort) {
  const LineSearch result = search(parabola(50));
  EXPECT_EQ(result.evaluations(), 2);
  EXPECT_DOUBLE_EQ(result.best().step, 10);  // at most ten times in one go
  EXPECT_DOUBLE_EQ(search(parabola(10.5)).best().step, 10);
}

TEST(LineSearch, SatisfiesBothConditionsOverManyScales) {
  for (int exponent = -12; exponent <= 8; ++exponent) {
    const Function function = parabola(std::pow(10.0, exponent));
    const LineSearch result = search(function);
    expect_wolfe(result, function);
    EXPECT_LE(result.evaluations(), 15) << exponent;
  }
}

TEST(LineSearch, SatisfiesBothConditionsWhereCubicsMislead) {
  const std::vector<Function> functions = {
      [](double t) { return std::pair(std::exp(20 * t) - 30 * t, 20 * std::exp(20 * t) - 30); },
      [](double t) { return std::pair(std::abs(t - 0.1), t < 0.1 ? -1.0 : 1.0); },
      [](double t) {
        return std::pair(-t / (t * t + 2) + 0.5 * t * t * t * t, (t * t - 2) / std::pow(t * t + 2, 2) + 2 * t * t * t);
      },
      [](double t) {
        return std::pair(std::pow(t + 0.004, 5) - 2 * std::pow(t + 0.004, 4),
                         5 * std::pow(t + 0.004, 4) - 8 * std::pow(t + 0.004, 3));
      },
      [](double t) {
        return std::pair(std::sqrt(1e-6 + (t - 7e-4) * (t - 7e-4)),
                         (t - 7e-4) / std::sqrt(1e-6 + (t - 7e-4) * (t - 7e-4)));
      },
  };
  for (const Function& function : functions) {
    const LineSearch result = search(function);
    expect_wolfe(result, function);
    EXPECT_LE(result.evaluations(), 12);
  }
}

TEST(LineSearch, WalksBackFromValuesThatAreNotFinite) {
  for (const double bad : {kNan, kInfinity, -kInfinity}) {
    const Function barrier = [bad](double t) {
      return t < 0.01 ? std::pair(-std::log(0.01 - t) - 200 * t, 1 / (0.01 - t) - 200) : std::pair(bad, bad);
    };
    const LineSearch result = search(barrier);
    expect_wolfe(result, barrier);
    EXPECT_GE(result.not_finite(), 2);
    EXPECT_LE(result.evaluations(), 8);
  }
}

TEST(LineSearch, TreatsASlopeThatIsNotFiniteLikeALossThatIsNot) {
  LineSearch result({}, 1, -1);
  EXPECT_FALSE(result.add(0.5, kNan));
  EXPECT_EQ(result.not_finite(), 1);
  EXPECT_LT(result.next_step(), 0.5);
}

TEST(LineSearch, NeverTakesMoreEvaluationsThanAllowed) {
  const Function rising = [](double t) { return std::pair(1 + t, t == 0 ? -1.0 : 1.0); };  // the slope at 0 lies
  const Function falling = [](double t) { return std::pair(-t, -1.0); };
  for (const int most : {1, 2, 7}) {
    const LineSearch none = search(rising, {.max_evaluations = most});
    EXPECT_EQ(none.evaluations(), most);
    EXPECT_EQ(none.best().step, 0);
    EXPECT_EQ(none.best().loss, 1);
    const LineSearch endless = search(falling, {.max_evaluations = most});
    EXPECT_EQ(endless.evaluations(), most);
    EXPECT_DOUBLE_EQ(endless.best().step, std::pow(10.0, most - 1));
  }
}

TEST(LineSearch, StopsWhenTheBracketIsTooNarrowToChangeTheLoss) {
  const Function rising = [](double t) { return std::pair(1e12 * (1 + t), t == 0 ? -1.0 : 1e12); };
  const LineSearch result = search(rising, {.max_evaluations = 1000});
  EXPECT_EQ(result.best().step, 0);
  EXPECT_LT(result.evaluations(), 30);
}

TEST(LineSearch, TrustsSlopesWhereTheLossIsRounded) {
  const auto noisy = [](double noise) {
    return [noise](double t) { return std::pair(1 + (t > 0 ? noise : 0) + 1e-9 * (t - 1) * (t - 1), 2e-9 * (t - 1)); };
  };
  EXPECT_EQ(search(noisy(5e-8)).evaluations(), 1);
  EXPECT_EQ(search(noisy(5e-8)).best().step, 1);
  EXPECT_EQ(search(noisy(1e-6)).best().step, 0);  // a rise that rounding does not explain
}

TEST(LineSearch, KeepsTheLowestPointWhenTheEvaluationsRunOut) {
  LineSearch result({.max_evaluations = 2}, 0, -1);
  EXPECT_TRUE(result.add(-1, -0.99));
  EXPECT_FALSE(result.add(5, 1));
  EXPECT_TRUE(result.finished());
  EXPECT_EQ(result.best().step, 1);
  EXPECT_EQ(result.best().loss, -1);
  EXPECT_EQ(result.best().slope, -0.99);
}

TEST(LineSearch, DependsOnlyOnRatiosOfLosses) {
  const Function function = [](double t) { return std::pair(std::exp(20 * t) - 30 * t, 20 * std::exp(20 * t) - 30); };
  const LineSearch plain = search(function);
  for (const double scale : {0x1p-200, 0x1p-32, 0x1p32, 0x1p200}) {
    const LineSearch scaled = search([&](double t) {
      const auto [loss, slope] = function(t);
      return std::pair(scale * loss, scale * slope);
    });
    EXPECT_EQ(scaled.best().step, plain.best().step);
    EXPECT_EQ(scaled.best().loss, scale * plain.best().loss);
    EXPECT_EQ(scaled.evaluations(), plain.evaluations());
  }
}

TEST(LineSearch, RefusesWhatItCannotSearch) {
  EXPECT_TRUE(throws_error([] { LineSearch({}, 1, 1); }, "slope negative"));
  EXPECT_TRUE(throws_error([] { LineSearch({}, 1, 0); }, "slope negative"));
  EXPECT_TRUE(throws_error([] { LineSearch({}, kNan, -1); }, "finite"));
  EXPECT_TRUE(throws_error([] { LineSearch({}, 1, -kInfinity); }, "finite"));
  EXPECT_TRUE(throws_error([] { LineSearch({.max_evaluations = 0}, 1, -1); }, "max_evaluations"));
  EXPECT_TRUE(throws_error([] { LineSearch({.sufficient_decrease = 0}, 1, -1); }, "sufficient_decrease"));
  EXPECT_TRUE(throws_error([] { LineSearch({.sufficient_decrease = 0.6}, 1, -1); }, "sufficient_decrease"));
  EXPECT_TRUE(throws_error([] { LineSearch({.curvature = 1}, 1, -1); }, "curvature"));
  EXPECT_TRUE(throws_error([] { LineSearch({.sufficient_decrease = 0.3, .curvature = 0.2}, 1, -1); }, "curvature"));
}

}  // namespace
}  // namespace minidl::optim
