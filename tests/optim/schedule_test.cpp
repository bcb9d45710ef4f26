#include <minidl/optim/schedule.h>
#include <support/compare.h>

#include <limits>

namespace minidl::optim {
namespace {

using test::throws_error;

TEST(Schedule, ConstantStays) {
  const Schedule schedule = constant(0.25f);
  EXPECT_EQ(schedule(0), 0.25f);
  EXPECT_EQ(schedule(1000000), 0.25f);
}

TEST(Schedule, StepDecayMultipliesEveryFewSteps) {
  const Schedule schedule = step_decay(8.0f, 10, 0.5f);
  EXPECT_EQ(schedule(0), 8.0f);
  EXPECT_EQ(schedule(9), 8.0f);
  EXPECT_EQ(schedule(10), 4.0f);
  EXPECT_EQ(schedule(29), 2.0f);
  EXPECT_EQ(schedule(30), 1.0f);
}

TEST(Schedule, CosineFallsFromTheFirstRateToTheLast) {
  const Schedule schedule = cosine(1.0f, 100, 0.2f);
  EXPECT_FLOAT_EQ(schedule(0), 1.0f);
  EXPECT_FLOAT_EQ(schedule(50), 0.6f);
  EXPECT_NEAR(schedule(25), 0.2 + 0.4 * (1 + std::sqrt(0.5)), 1e-6);
  EXPECT_FLOAT_EQ(schedule(100), 0.2f);
  EXPECT_FLOAT_EQ(schedule(1000), 0.2f);
  for (int step = 0; step < 100; ++step) EXPECT_GT(schedule(step), schedule(step + 1)) << step;
}

TEST(Schedule, WarmUpRisesInEqualSteps) {
  const Schedule schedule = linear_warm_up(4, constant(8.0f));
  EXPECT_EQ(schedule(0), 2.0f);
  EXPECT_EQ(schedule(1), 4.0f);
  EXPECT_EQ(schedule(3), 8.0f);
  EXPECT_EQ(schedule(100), 8.0f);
  const Schedule decaying = linear_warm_up(2, step_decay(8.0f, 1, 0.5f));
  EXPECT_EQ(decaying(0), 4.0f);
  EXPECT_EQ(decaying(1), 4.0f);
  EXPECT_EQ(decaying(2), 2.0f);
  EXPECT_EQ(linear_warm_up(0, constant(3.0f))(0), 3.0f);
}

TEST(Schedule, RefusesArgumentsOutsideTheirRanges) {
  EXPECT_TRUE(throws_error([] { constant(-1.0f); }, "lr is -1"));
  EXPECT_TRUE(throws_error([] { constant(std::numeric_limits<float>::infinity()); }, "finite"));
  EXPECT_TRUE(throws_error([] { step_decay(1.0f, 0, 0.5f); }, "every is 0"));
  EXPECT_TRUE(throws_error([] { step_decay(1.0f, 10, 0.0f); }, "factor is 0"));
  EXPECT_TRUE(throws_error([] { step_decay(1.0f, 10, 1.5f); }, "factor is 1.5"));
  EXPECT_TRUE(throws_error([] { cosine(1.0f, 0); }, "steps is 0"));
  EXPECT_TRUE(throws_error([] { cosine(1.0f, 10, -0.1f); }, "final_lr"));
  EXPECT_TRUE(throws_error([] { linear_warm_up(-1, constant(1.0f)); }, "steps is -1"));
  EXPECT_TRUE(throws_error([] { linear_warm_up(1, Schedule()); }, "empty schedule"));
}

}  // namespace
}  // namespace minidl::optim
