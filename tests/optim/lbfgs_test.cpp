#include <minidl/core/rng.h>
#include <minidl/optim/lbfgs.h>
#include <support/compare.h>
#include <support/random_tensors.h>
#include <support/threads.h>

#include <limits>
#include <set>
#include <stdexcept>

namespace minidl::optim {
namespace {

using test::same_bytes;
using test::throws_error;
using Vector = std::vector<double>;

/// Loss and gradient in f64 of a position; counts its calls and remembers where it was asked.
class Objective {
 public:
  using Function = std::function<double(const Vector& x, Vector& gradient)>;

  explicit Objective(Function function, double scale = 1) : function_(std::move(function)), scale_(scale) {}

  double operator()(const Tensor& x, Tensor& gradient) {
    const Vector position = test::to_doubles(x);
    Vector g(position.size(), 0.0);
    const double loss = function_(position, g);
    std::transform(g.begin(), g.end(), gradient.data<float>(),
                   [&](double value) { return static_cast<float>(scale_ * value); });
    ++evaluations;
    is_new = positions_.insert(position).second && is_new;
    return scale_ * loss;
  }

  int evaluations = 0;
  bool is_new = true;  // no position was evaluated twice

 private:
  Function function_;
  double scale_;
  std::set<Vector> positions_;
};

Objective::Function quadratic(size_t count, double condition) {
  return [=](const Vector& x, Vector& g) {
    double loss = 0;
    for (size_t i = 0; i < count; ++i) {
      const size_t next = (i + 1) % count;
      const double curvature = std::pow(condition, static_cast<double>(i) / static_cast<double>(count - 1));
      const double z = x[i] + 0.5 * x[next] - 3;
      loss += 0.5 * curvature * z * z;
      g[i] += curvature * z;
      g[next] += 0.5 * curvature * z;
    }
    return loss;
  };
}

double rosenbrock(const Vector& x, Vector& g) {
  double loss = 0;
  for (size_t i = 0; i + 1 < x.size(); ++i) {
    const double valley = x[i + 1] - x[i] * x[i], rest = 1 - x[i];
    loss += 100 * valley * valley + rest * rest;
    g[i] += -400 * valley * x[i] - 2 * rest;
    g[i + 1] += 200 * valley;
  }
  return loss;
}

/// c'x - sum of log x: NaN unless all x > 0; the minimum is at x = 1/c.
double barrier(const Vector& x, Vector& g) {
  double loss = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double c = 1.0 + static_cast<double>(i);
    loss += c * x[i] - std::log(x[i]);
    g[i] = c - 1 / x[i];
  }
  return loss;
}

Tensor start_of_rosenbrock(int64_t count) {
  Tensor x = Tensor::full({count}, -1.2f);
  for (int64_t i = 1; i < count; i += 2) x.data<float>()[i] = 1.0f;
  return x;
}

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
  Rng noise(11);
  Lbfgs lbfgs(test::random_uniform({count}, 5, -30.0f, 30.0f), {.history = 20});
  const auto exact = quadratic(count, 1e4);
  Objective objective([&](const Vector& x, Vector& g) {
    const double loss = 1e6 + exact(x, g);  // the optimum is far from zero, so that noise hides the last decreases
    return loss * (1 + 1e-7 * (2 * noise.uniform() - 1));
  });
  const int steps = run(lbfgs, objective, 400);
  EXPECT_GT(steps, 100);
  Vector gradient(count, 0.0);
  EXPECT_LT(exact(test::to_doubles(lbfgs.parameter()), gradient), 1.0);  // 1e-6 of the optimum
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

TEST(Lbfgs, ResetsADirectionThatOverflows) {
  Lbfgs lbfgs(Tensor::full({2}, 3.0f), {.first_step = 1});
  Objective objective(quadratic(2, 4));
  lbfgs.step(std::ref(objective));
  State state = lbfgs.state();
  const Tensor s = Tensor::from(std::vector<float>{1, 0}, {2}), y = Tensor::from(std::vector<float>{1e-44f, 0}, {2});
  state.at("scalars").data<double>()[2] = 1;
  state["s.0"] = s;
  state["y.0"] = y;
  lbfgs.load_state(state);
  const LbfgsReport report = lbfgs.step(std::ref(objective));
  EXPECT_NE(report.note.find("did not descend"), std::string::npos);
  EXPECT_FALSE(report.converged);
}

TEST(Lbfgs, ALossScaledByAPowerOfTwoChangesNoByte) {
  const auto function = [](const Vector& x,
                           Vector& g) {  // with a region that is not finite, and values as in style transfer
    const double loss = 1e11 * barrier(x, g);
    for (double& value : g) value *= 1e11;
    return loss;
  };
  const Tensor start = test::random_uniform({40}, 6, 0.5f, 6.0f);
  Objective plain(function), small(function, 0x1p-32), large(function, 0x1p32);
  Lbfgs a(start.clone()), b(start.clone()), c(start.clone());
  for (int i = 0; i < 60; ++i) {
    const LbfgsReport first = a.step(std::ref(plain)), second = b.step(std::ref(small)),
                      third = c.step(std::ref(large));
    ASSERT_TRUE(same_bytes(a.parameter(), b.parameter())) << i;
    ASSERT_TRUE(same_bytes(a.parameter(), c.parameter())) << i;
    EXPECT_EQ(first.loss, second.loss * 0x1p32);
    EXPECT_EQ(first.loss, third.loss * 0x1p-32);
    EXPECT_EQ(first.note, second.note);
    EXPECT_EQ(first.note, third.note);
    EXPECT_EQ(first.step, second.step);
    EXPECT_EQ(first.step, third.step);
  }
  EXPECT_EQ(plain.evaluations, small.evaluations);
  EXPECT_EQ(plain.evaluations, large.evaluations);
}

TEST(Lbfgs, ContinuesFromItsStateBitForBit) {
  for (const int history : {1, 3, 10}) {
    for (const int before : {0, 1, 2, 15}) {
      Objective objective(rosenbrock), resumed_objective(rosenbrock);
      Lbfgs lbfgs(start_of_rosenbrock(20), {.history = history});
      for (int i = 0; i < before; ++i) lbfgs.step(std::ref(objective));
      const State state = lbfgs.state();
      const int evaluations = objective.evaluations;
      Lbfgs resumed(lbfgs.parameter().clone(), {.history = history});
      for (int i = 0; i < 10; ++i) lbfgs.step(std::ref(objective));
      resumed.load_state(state);  // after the steps: they must not have written to it
      for (int i = 0; i < 10; ++i) resumed.step(std::ref(resumed_objective));
      EXPECT_TRUE(same_bytes(lbfgs.parameter(), resumed.parameter())) << history << " " << before;
      EXPECT_EQ(objective.evaluations - evaluations, resumed_objective.evaluations);
    }
  }
}

TEST(Lbfgs, KeepsTheNewestPairsOfALongerHistory) {
  Objective objective(rosenbrock);
  Lbfgs lbfgs(start_of_rosenbrock(20), {.history = 10});
  for (int i = 0; i < 12; ++i) lbfgs.step(std::ref(objective));
  const State state = lbfgs.state();
  Lbfgs shorter(lbfgs.parameter().clone(), {.history = 2});
  shorter.load_state(state);
  const State kept = shorter.state();
  EXPECT_EQ(kept.count("s.2"), 0u);
  EXPECT_TRUE(same_bytes(kept.at("s.1"), state.at("s.9")));
  EXPECT_TRUE(same_bytes(kept.at("y.0"), state.at("y.8")));
}

TEST(Lbfgs, AHistoryOfOneStillWorks) {
  Lbfgs lbfgs(test::random_uniform({20}, 7, -50.0f, 50.0f), {.history = 1});
  Objective objective(quadratic(20, 50));
  run(lbfgs, objective, 300);
  for (const float x : lbfgs.parameter().span<float>()) EXPECT_NEAR(x, 2.0, 1e-3);
}

TEST(Lbfgs, StartsAnewAfterReset) {
  Tensor x = start_of_rosenbrock(6);
  Lbfgs lbfgs(x), fresh(start_of_rosenbrock(6));
  Objective objective(rosenbrock);
  for (int i = 0; i < 5; ++i) lbfgs.step(std::ref(objective));
  x.copy_from(start_of_rosenbrock(6));
  lbfgs.reset();
  EXPECT_FALSE(lbfgs.gradient());
  EXPECT_TRUE(lbfgs.state().empty());
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(lbfgs.step(std::ref(objective)).loss, fresh.step(std::ref(objective)).loss);
  }
  EXPECT_TRUE(same_bytes(x, fresh.parameter()));
}

TEST(Lbfgs, AnExceptionLeavesTheParameterWhereItWas) {
  Lbfgs lbfgs(start_of_rosenbrock(6)), undisturbed(start_of_rosenbrock(6));
  Objective objective(rosenbrock);
  for (int i = 0; i < 3; ++i) {
    lbfgs.step(std::ref(objective));
    undisturbed.step(std::ref(objective));
  }
  const auto cancel = [](const Tensor&, Tensor& gradient) -> double {
    gradient.fill(99);
    throw std::runtime_error("cancelled");
  };
  EXPECT_THROW(lbfgs.step(cancel), std::runtime_error);
  EXPECT_TRUE(same_bytes(lbfgs.parameter(), undisturbed.parameter()));
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(lbfgs.step(std::ref(objective)).loss, undisturbed.step(std::ref(objective)).loss);
  }
}

TEST(Lbfgs, ThreadsDoNotChangeTheResult) {
  const auto compute = [] {
    const Shape shape{1, 97, 101, 3};
    const Tensor target = test::random_uniform(shape, 8, 0.0f, 255.0f);
    Lbfgs lbfgs(test::random_uniform(shape, 9, 0.0f, 255.0f), {.history = 4});
    for (int i = 0; i < 8; ++i) {
      lbfgs.step([&](const Tensor& x, Tensor& gradient) {
        const std::span<const float> a = x.span<float>(), b = target.span<float>();
        const std::span<float> g = gradient.span<float>();
        double loss = 0;
        for (size_t k = 0; k < a.size(); ++k) {
          const double difference = a[k] - b[k], weight = 1.0 + static_cast<double>(k % 100);
          loss += weight * std::pow(difference, 4);
          g[k] = static_cast<float>(4 * weight * std::pow(difference, 3));
        }
        return loss;
      });
    }
    return lbfgs.parameter();
  };
  EXPECT_TRUE(test::same_for_all_threads(compute));
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

TEST(Lbfgs, RefusesAStateThatDoesNotFit) {
  Objective objective(rosenbrock);
  Lbfgs lbfgs(start_of_rosenbrock(8));
  for (int i = 0; i < 4; ++i) lbfgs.step(std::ref(objective));
  const State good = lbfgs.state();
  const auto load = [&](const std::function<void(State&)>& spoil) {
    State state = good;
    state.at("scalars") = good.at("scalars").clone();
    spoil(state);
    return [&lbfgs, state] { lbfgs.load_state(state); };
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(throws_error(load([](State& s) { s.erase("scalars"); }), "'scalars'"));
  EXPECT_TRUE(throws_error(load([](State& s) { s.erase("gradient"); }), "'gradient'"));
  EXPECT_TRUE(throws_error(load([](State& s) { s.erase("y.1"); }), "'y.1'"));
  EXPECT_TRUE(throws_error(load([](State& s) { s.at("s.0") = Tensor::zeros({9}); }), "[9]"));
  EXPECT_TRUE(throws_error(load([](State& s) { s.at("gradient") = Tensor::zeros({8}, Dtype::f64); }), "f64"));
  EXPECT_TRUE(throws_error(load([](State& s) { s.at("y.0") = Tensor::zeros({8}); }), "pair 0"));
  EXPECT_TRUE(throws_error(load([&](State& s) { s.at("scalars").data<double>()[2] = nan; }), "nan pairs"));
  EXPECT_TRUE(throws_error(load([](State& s) { s.at("scalars").data<double>()[2] = 1e30; }), "pairs"));
  EXPECT_TRUE(throws_error(load([&](State& s) { s.at("scalars").data<double>()[0] = nan; }), "loss nan"));
  EXPECT_TRUE(throws_error(load([](State& s) { s.at("scalars").data<double>()[1] = 0; }), "scale 0"));
  EXPECT_TRUE(throws_error(load([&](State& s) { s.at("gradient") = Tensor::full({8}, static_cast<float>(nan)); }),
                           "not finite"));
}

}  // namespace
}  // namespace minidl::optim
