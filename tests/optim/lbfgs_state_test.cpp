#include <minidl/optim/lbfgs.h>
#include <support/objectives.h>
#include <support/random_tensors.h>
#include <support/threads.h>

#include <limits>
#include <stdexcept>

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

class LbfgsOfDtype : public ::testing::TestWithParam<Dtype> {};
INSTANTIATE_TEST_SUITE_P(History, LbfgsOfDtype, ::testing::Values(Dtype::f32, Dtype::bf16),
                         [](const auto& tested) { return to_string(tested.param); });

TEST_P(LbfgsOfDtype, ContinuesFromItsStateBitForBit) {
  for (const int history : {1, 3, 10}) {
    for (const int before : {0, 1, 2, 15}) {
      const LbfgsSettings settings{.history = history, .history_dtype = GetParam()};
      Objective objective(rosenbrock), resumed_objective(rosenbrock);
      Lbfgs lbfgs(start_of_rosenbrock(20), settings);
      for (int i = 0; i < before; ++i) lbfgs.step(std::ref(objective));
      const State state = lbfgs.state();
      const int evaluations = objective.evaluations;
      Lbfgs resumed(lbfgs.parameter().clone(), settings);
      for (int i = 0; i < 10; ++i) lbfgs.step(std::ref(objective));
      resumed.load_state(state);  // after the steps: they must not have written to it
      for (int i = 0; i < 10; ++i) resumed.step(std::ref(resumed_objective));
      EXPECT_TRUE(same_bytes(lbfgs.parameter(), resumed.parameter())) << history << " " << before;
      EXPECT_EQ(objective.evaluations - evaluations, resumed_objective.evaluations);
    }
  }
}

TEST_P(LbfgsOfDtype, TakesAStateOfTheOther) {
  const Dtype other = GetParam() == Dtype::f32 ? Dtype::bf16 : Dtype::f32;
  Objective objective(rosenbrock);
  Lbfgs lbfgs(start_of_rosenbrock(20), {.history_dtype = other});
  for (int i = 0; i < 6; ++i) lbfgs.step(std::ref(objective));
  Lbfgs resumed(lbfgs.parameter().clone(), {.history_dtype = GetParam()});
  resumed.load_state(lbfgs.state());
  EXPECT_EQ(resumed.state().at("s.0").dtype(), GetParam());
  EXPECT_EQ(resumed.state().size(), lbfgs.state().size());
  const double before = lbfgs.step(std::ref(objective)).loss;
  for (int i = 0; i < 3; ++i) resumed.step(std::ref(objective));
  EXPECT_LT(resumed.step(std::ref(objective)).loss, before);
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
