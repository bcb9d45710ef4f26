#include <minidl/optim/sgd.h>
#include <support/compare.h>
#include <support/random_tensors.h>

namespace minidl::optim {
namespace {

using test::random_uniform;
using test::same_bytes;
using test::throws_error;

std::vector<Variable> two_parameters() {
  return {Variable(random_uniform({3, 5}, 1), true), Variable(random_uniform({33}, 2), true)};
}

void set_gradients(std::vector<Variable>& parameters, uint64_t seed) {
  for (Variable& parameter : parameters) parameter.mutable_grad() = random_uniform(parameter.shape(), ++seed);
}

TEST(Sgd, FollowsTheDefinition) {
  const std::vector<SgdSettings> cases = {{},
                                          {.lr = 0.1f},
                                          {.lr = 0.1f, .weight_decay = 0.2f},
                                          {.lr = 0.1f, .momentum = 0.9f},
                                          {.lr = 0.05f, .momentum = 0.5f, .weight_decay = 0.2f}};
  for (const SgdSettings& settings : cases) {
    std::vector<Variable> parameters = two_parameters();
    std::vector<double> x = test::to_doubles(parameters[1].value()), velocity(x.size(), 0.0);
    Sgd sgd(parameters, settings);
    for (uint64_t step = 0; step < 20; ++step) {
      set_gradients(parameters, 10 * step);
      sgd.step();
      for (size_t i = 0; i < x.size(); ++i) {
        const double g = parameters[1].grad().span<float>()[i] + static_cast<double>(settings.weight_decay) * x[i];
        velocity[i] = settings.momentum * velocity[i] + g;
        x[i] -= settings.lr * velocity[i];
      }
    }
    EXPECT_LT(test::normalised_error(parameters[1].value(), x), 1e-6);
  }
}

TEST(Sgd, SmallIntegersAreExact) {
  std::vector<Variable> parameters = {Variable(Tensor::full({5}, 8), true)};
  Sgd sgd(parameters, {.lr = 0.5f, .momentum = 0.5f});
  for (const float expected : {6.0f, 3.0f, -0.5f}) {  // velocity 4, 6, 7
    parameters[0].mutable_grad() = Tensor::full({5}, 4);
    sgd.step();
    for (const float value : parameters[0].value().span<float>()) EXPECT_EQ(value, expected);
  }
}

TEST(Sgd, SkipsParametersWithoutAGradient) {
  for (const float momentum : {0.0f, 0.9f}) {
    std::vector<Variable> parameters = two_parameters();
    const Tensor before = parameters[0].value().clone();
    Sgd sgd(parameters, {.lr = 0.1f, .momentum = momentum});
    parameters[1].mutable_grad() = random_uniform({33}, 9);
    sgd.step();
    EXPECT_TRUE(same_bytes(parameters[0].value(), before));
  }
}

TEST(Sgd, ANewLearningRateHoldsFromTheNextStep) {
  std::vector<Variable> parameters = {Variable(Tensor::full({2}, 1), true)};
  parameters[0].mutable_grad() = Tensor::full({2}, 1);
  Sgd sgd(parameters, {.lr = 0.5f});
  sgd.set_lr(0.25f);
  EXPECT_EQ(sgd.lr(), 0.25f);
  sgd.step();
  EXPECT_EQ(parameters[0].value().span<float>()[1], 0.75f);
}

TEST(Sgd, ContinuesFromItsStateBitForBit) {
  for (const float momentum : {0.0f, 0.9f}) {
    for (const uint64_t before : {0, 1, 6}) {
      const SgdSettings settings{.lr = 0.1f, .momentum = momentum};
      std::vector<Variable> parameters = two_parameters();
      Sgd sgd(parameters, settings);
      for (uint64_t step = 0; step < before; ++step) {
        parameters[0].mutable_grad() = random_uniform({3, 5}, step);  // the other has no velocity yet
        sgd.step();
      }
      const State state = sgd.state();
      EXPECT_EQ(state.empty(), momentum == 0);
      std::vector<Variable> copies;
      for (const Variable& parameter : parameters) copies.emplace_back(parameter.value().clone(), true);
      Sgd resumed(copies, settings);
      const auto continue_with = [](Sgd& optimizer, std::vector<Variable>& variables) {
        for (uint64_t step = 0; step < 5; ++step) {
          set_gradients(variables, 100 + 10 * step);
          optimizer.step();
        }
      };
      continue_with(sgd, parameters);
      resumed.load_state(state);  // after the steps: they must not have written to it
      continue_with(resumed, copies);
      for (size_t i = 0; i < copies.size(); ++i) EXPECT_TRUE(same_bytes(copies[i].value(), parameters[i].value())) << i;
    }
  }
}

TEST(Sgd, RefusesAStateThatDoesNotFit) {
  Sgd sgd(two_parameters(), {.momentum = 0.9f});
  State state = sgd.state();
  state.at("velocity.0") = Tensor::zeros({5, 3});
  EXPECT_TRUE(throws_error([&] { sgd.load_state(state); }, "'velocity.0'"));
  EXPECT_TRUE(throws_error([&] { sgd.load_state({}); }, "[sgd] the state has no entry 'velocity.0'"));
}

TEST(Sgd, RefusesSettingsOutsideTheirRanges) {
  const auto make = [](const SgdSettings& settings) { return [settings] { Sgd(two_parameters(), settings); }; };
  EXPECT_TRUE(throws_error(make({.lr = -1}), "[sgd] lr is -1"));
  EXPECT_TRUE(throws_error(make({.momentum = 1}), "momentum is 1"));
  EXPECT_TRUE(throws_error(make({.momentum = -0.5f}), "momentum is -0.5"));
  EXPECT_TRUE(throws_error(make({.weight_decay = -1}), "weight_decay is -1"));
  EXPECT_TRUE(throws_error([] { Sgd({Variable()}); }, "undefined variable"));
  Sgd sgd(two_parameters());
  EXPECT_TRUE(throws_error([&] { sgd.set_lr(-2); }, "lr is -2"));
}

}  // namespace
}  // namespace minidl::optim
