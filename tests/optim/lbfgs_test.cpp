#include <minidl/core/rng.h>
#include <minidl/optim/lbfgs.h>
#include <support/objectives.h>
#include <support/random_tensors.h>

#include <limits>

namespace minidl::optim {
namespace {

using test::barrier;
using test::Objective;
using test::quadratic;
using test::rosenbrock;
using test::same_bytes;
using test::start_of_rosenbrock;
using test::throws_error;
using test::Vector;

/// Steps until `evaluations` were used or it converged; the number of steps.
int run(Lbfgs& lbfgs, Objective& objective, int evaluations) {
  int steps = 0;
  for (; objective.evaluations < evaluations; ++steps) {
    if (lbfgs.step(std::ref(objective)).converged) break;
  }
  return steps;
}

TEST(Lbfgs, SolvesAQuadratic) {
  const int64_t count = 20;
  Lbfgs lbfgs(test::random_uniform({count}, 1, -50.0f, 50.0f));
  Objective objective(quadratic(count, 100));
  run(lbfgs, objective, 100);
  for (const float x : lbfgs.parameter().span<float>()) EXPECT_NEAR(x, 2.0, 1e-4);
}

TEST(Lbfgs, SolvesRosenbrock) {
  Lbfgs lbfgs(start_of_rosenbrock(2), {.first_step = 0.1});
  Objective objective(rosenbrock);
  run(lbfgs, objective, 60);
  for (const float x : lbfgs.parameter().span<float>()) EXPECT_NEAR(x, 1.0, 1e-4);
}

TEST(Lbfgs, ReportsThePointThatTheParameterHolds) {
  Lbfgs lbfgs(start_of_rosenbrock(30));
  Objective objective(rosenbrock);
  int evaluations = 0;
  double previous = std::numeric_limits<double>::infinity();
  for (int i = 0; i < 40; ++i) {
    const LbfgsReport report = lbfgs.step(std::ref(objective));
    evaluations += report.evaluations;
    EXPECT_EQ(evaluations, objective.evaluations);
    Vector gradient(30, 0.0);
    EXPECT_EQ(report.loss, rosenbrock(test::to_doubles(lbfgs.parameter()), gradient));
    EXPECT_LT(report.loss, previous);
    EXPECT_LT(test::normalised_error(lbfgs.gradient(), gradient), 1e-6);
    EXPECT_NEAR(report.grad_norm, std::sqrt(test::inner_product(lbfgs.gradient(), lbfgs.gradient())),
                1e-9 * report.grad_norm);
    EXPECT_GT(report.step, 0);
    EXPECT_FALSE(report.converged);
    EXPECT_EQ(report.note, "");
    previous = report.loss;
  }
}

TEST(Lbfgs, WorksInTheStorageOfItsParameter) {
  Tensor x = start_of_rosenbrock(4);
  Lbfgs lbfgs(x);
  Objective objective(rosenbrock);
  const Tensor before = x.clone();
  lbfgs.step([&](const Tensor& at, Tensor& gradient) {
    EXPECT_TRUE(at.shares_storage_with(x));
    return objective(at, gradient);
  });
  EXPECT_TRUE(lbfgs.parameter().shares_storage_with(x));
  EXPECT_FALSE(same_bytes(x, before));
}

TEST(Lbfgs, NeedsAboutOneEvaluationPerIterationWhenIllConditioned) {
  const int64_t count = 1000;
  Lbfgs lbfgs(test::random_uniform({count}, 2, -100.0f, 100.0f), {.history = 50});
  Objective objective(quadratic(count, 1e6));
  const double first = lbfgs.step(std::ref(objective)).loss;
  const int steps = run(lbfgs, objective, 300);
  EXPECT_GE(steps, 270);
  EXPECT_TRUE(objective.is_new);
  EXPECT_LT(lbfgs.step(std::ref(objective)).loss, 1e-4 * first);
}

TEST(Lbfgs, ARoundedHistoryTakesHardlyMoreEvaluations) {
  const int64_t count = 1000;
  for (const double condition : {1e2, 1e4, 1e6}) {
    Lbfgs exact(test::random_uniform({count}, 2, -100.0f, 100.0f), {.history = 50});
    Lbfgs rounded(exact.parameter().clone(), {.history = 50, .history_dtype = Dtype::bf16});
    Objective of_exact(quadratic(count, condition)), of_rounded(quadratic(count, condition));
    for (const int evaluations : {20, 80, 300}) {
      run(exact, of_exact, evaluations);
      run(rounded, of_rounded, evaluations);
      EXPECT_LT(rounded.step(std::ref(of_rounded)).loss, 1.2 * exact.step(std::ref(of_exact)).loss)
          << condition << " " << evaluations;
    }
  }
}

TEST(Lbfgs, AFirstStepHasTheLengthAskedFor) {
  const int64_t count = 64;
  const Tensor before = test::random_uniform({count}, 3);
  for (const double length : {0.01, 2.0}) {
    Lbfgs lbfgs(before.clone(), {.first_step = length});
    Tensor trial;
    int evaluations = 0;
    lbfgs.step([&](const Tensor& x, Tensor& gradient) {
      if (++evaluations == 2) trial = x.clone();
      return Objective(quadratic(count, 10))(x, gradient);
    });
    double squares = 0;
    for (int64_t i = 0; i < count; ++i) squares += std::pow(trial.span<float>()[i] - before.span<float>()[i], 2);
    EXPECT_NEAR(std::sqrt(squares / count), length, 1e-4 * length);
  }
}

TEST(Lbfgs, StaysWhereTheLossIsFinite) {
  const int64_t count = 12;
  Lbfgs lbfgs(Tensor::full({count}, 5.0f), {.first_step = 100});
  Objective objective(barrier);
  std::string notes;
  for (int i = 0; i < 60; ++i) {
    const LbfgsReport report = lbfgs.step(std::ref(objective));
    EXPECT_TRUE(std::isfinite(report.loss));
    notes += report.note;
    if (report.converged) break;
  }
  EXPECT_NE(notes.find("not finite"), std::string::npos);
  EXPECT_LT(objective.evaluations, 150);
  for (int64_t i = 0; i < count; ++i) {
    EXPECT_NEAR(lbfgs.parameter().span<float>()[i] * (1 + i), 1, 1e-3) << i;
  }
}

TEST(Lbfgs, ConvergesOnAPlateau) {
  Lbfgs lbfgs(test::random_uniform({50}, 4, -9.0f, 9.0f), {.first_step = 1});
  Objective objective([](const Vector& x, Vector& g) {  // flat in the cube [-1, 1]
    double loss = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double outside = std::max(0.0, std::abs(x[i]) - 1);
      loss += outside * outside * outside;
      g[i] = 3 * outside * outside * (x[i] < 0 ? -1 : 1);
    }
    return loss;
  });
  LbfgsReport report;
  for (int i = 0; i < 300 && !report.converged; ++i) report = lbfgs.step(std::ref(objective));
  EXPECT_LT(report.loss, 1e-9);
  for (const float x : lbfgs.parameter().span<float>()) EXPECT_LT(std::abs(x), 1.01);
}

TEST(Lbfgs, ConvergesAtOnceWhereTheGradientIsZero) {
  const Tensor x = Tensor::full({3}, 2.0f);
  Lbfgs lbfgs(x.clone());
  for (int i = 0; i < 2; ++i) {
    const LbfgsReport report = lbfgs.step([](const Tensor&, Tensor& gradient) {
      gradient.fill(0);
      return 7.0;
    });
    EXPECT_TRUE(report.converged);
    EXPECT_EQ(report.note, "the gradient is zero");
    EXPECT_EQ(report.loss, 7);
    EXPECT_EQ(report.evaluations, i == 0 ? 1 : 0);
  }
  EXPECT_TRUE(same_bytes(lbfgs.parameter(), x));
  Lbfgs resumed(x.clone());
  resumed.load_state(lbfgs.state());
  EXPECT_TRUE(resumed.step([](const Tensor&, Tensor&) { return 0.0; }).converged);
}

TEST(Lbfgs, CopesWithANoisyLoss) {
  const int64_t count = 200;
  const double optimum = 1e6, noise = 1e-7;
  Rng rng(11);
  Lbfgs lbfgs(test::random_uniform({count}, 5, -30.0f, 30.0f), {.history = 20});
  const auto exact = quadratic(count, 100);
  Objective objective(
      [&](const Vector& x, Vector& g) { return (optimum + exact(x, g)) * (1 + noise * (2 * rng.uniform() - 1)); });
  run(lbfgs, objective, 300);
  EXPECT_LT(objective.evaluations, 320);
  Vector gradient(count, 0.0);
  EXPECT_LT(exact(test::to_doubles(lbfgs.parameter()), gradient), noise * optimum);
}

TEST(Lbfgs, RestartsWhenTheSearchFailsAndSaysWhenNothingHelps) {
  Lbfgs lbfgs(start_of_rosenbrock(10));
  Objective objective(rosenbrock);
  for (int i = 0; i < 5; ++i) lbfgs.step(std::ref(objective));
  const Tensor before = lbfgs.parameter().clone();
  const auto walls = [](const Tensor&, Tensor& gradient) {  // every other point is higher, whatever the gradient said
    gradient.fill(1.0f);
    return 1e6;
  };
  const LbfgsReport report = lbfgs.step(walls);
  EXPECT_TRUE(report.converged);
  EXPECT_NE(report.note.find("history dropped"), std::string::npos);
  EXPECT_NE(report.note.find("no step along the negative gradient"), std::string::npos);
  EXPECT_LE(report.evaluations, 40);
  EXPECT_EQ(report.step, 0);
  EXPECT_TRUE(same_bytes(lbfgs.parameter(), before));

  const LbfgsReport next = lbfgs.step(std::ref(objective));  // the walls are gone: it goes on from there
  EXPECT_FALSE(next.converged);
  EXPECT_LT(next.loss, report.loss);
}

TEST(Lbfgs, RecoversAlongTheGradientWhenTheDirectionLeadsNowhere) {
  Lbfgs lbfgs(start_of_rosenbrock(10));
  Objective objective(rosenbrock);
  for (int i = 0; i < 5; ++i) lbfgs.step(std::ref(objective));
  int trials = 0;
  const LbfgsReport report = lbfgs.step([&](const Tensor& x, Tensor& gradient) {
    const double loss = objective(x, gradient);
    return ++trials <= 20 ? std::numeric_limits<double>::quiet_NaN() : loss;
  });
  EXPECT_FALSE(report.converged);
  EXPECT_NE(report.note.find("not finite"), std::string::npos);
  EXPECT_NE(report.note.find("the line search failed"), std::string::npos);
  EXPECT_GT(report.evaluations, 20);
}

TEST(Lbfgs, AHistoryOfOneStillWorks) {
  Lbfgs lbfgs(test::random_uniform({20}, 7, -50.0f, 50.0f), {.history = 1});
  Objective objective(quadratic(20, 50));
  run(lbfgs, objective, 300);
  for (const float x : lbfgs.parameter().span<float>()) EXPECT_NEAR(x, 2.0, 1e-3);
}

TEST(Lbfgs, RefusesAStartThatIsNotFinite) {
  Lbfgs lbfgs(Tensor::full({2}, -1.0f));
  Objective objective(barrier);
  EXPECT_TRUE(throws_error([&] { lbfgs.step(std::ref(objective)); }, "starting point"));
  const auto infinite = [](const Tensor&, Tensor& gradient) {
    gradient.fill(std::numeric_limits<float>::infinity());
    return 0.0;
  };
  EXPECT_TRUE(throws_error([&] { lbfgs.step(infinite); }, "not finite"));
}

TEST(Lbfgs, RefusesWrongArguments) {
  const Tensor x = Tensor::zeros({4});
  EXPECT_TRUE(throws_error([] { Lbfgs(Tensor{}); }, "[lbfgs] the parameter"));
  EXPECT_TRUE(throws_error([] { Lbfgs(Tensor::zeros({4}, Dtype::f64)); }, "f64"));
  EXPECT_TRUE(throws_error([] { Lbfgs(Tensor::zeros({0})); }, "at least one element"));
  EXPECT_TRUE(throws_error([&] { Lbfgs(x, {.history = 0}); }, "history is 0"));
  EXPECT_TRUE(throws_error([&] { Lbfgs(x, {.first_step = 0}); }, "first_step is 0"));
  EXPECT_TRUE(throws_error([&] { Lbfgs(x, {.max_evaluations = 0}); }, "max_evaluations is 0"));
  EXPECT_TRUE(throws_error([&] { Lbfgs(x, {.curvature = 2}); }, "curvature is 2"));
  Lbfgs lbfgs(x);
  const auto wrong = [](const Tensor&, Tensor& gradient) {
    gradient = Tensor::zeros({5});
    return 0.0;
  };
  EXPECT_TRUE(throws_error([&] { lbfgs.step(wrong); }, "gradient [5]"));
}

}  // namespace
}  // namespace minidl::optim
