#include <minidl/optim/adam.h>
#include <support/compare.h>
#include <support/random_tensors.h>

#include <limits>

namespace minidl::optim {
namespace {

using test::random_uniform;
using test::same_bytes;
using test::throws_error;

/// Algorithm 1 of Kingma & Ba in f64.
struct Reference {
  AdamSettings settings;
  std::vector<double> x, m, v;
  int step = 0;

  Reference(const Tensor& start, const AdamSettings& chosen)
      : settings(chosen), x(test::to_doubles(start)), m(x.size(), 0.0), v(x.size(), 0.0) {}

  void update(const Tensor& grad) {
    ++step;
    const double beta1 = settings.beta1, beta2 = settings.beta2;
    for (size_t i = 0; i < x.size(); ++i) {
      const double g = grad.span<float>()[i] + static_cast<double>(settings.weight_decay) * x[i];
      m[i] = beta1 * m[i] + (1 - beta1) * g;
      v[i] = beta2 * v[i] + (1 - beta2) * g * g;
      const double corrected = m[i] / (1 - std::pow(beta1, step));
      x[i] -= settings.lr * corrected / (std::sqrt(v[i] / (1 - std::pow(beta2, step))) + settings.eps);
    }
  }
};

std::vector<Variable> two_parameters() {
  return {Variable(random_uniform({3, 5}, 1), true), Variable(random_uniform({33}, 2), true)};
}

void set_gradients(std::vector<Variable>& parameters, uint64_t seed) {
  for (Variable& parameter : parameters) parameter.mutable_grad() = random_uniform(parameter.shape(), ++seed);
}

TEST(Adam, FollowsTheDefinition) {
  const std::vector<AdamSettings> cases = {{},
                                           {.lr = 0.1f},
                                           {.lr = 0.02f, .beta1 = 0.5f, .beta2 = 0.9f, .eps = 1e-3f},
                                           {.lr = 0.05f, .weight_decay = 0.3f},
                                           {.lr = 0.1f, .beta1 = 0}};
  for (const AdamSettings& settings : cases) {
    std::vector<Variable> parameters = two_parameters();
    Reference first(parameters[0].value(), settings), second(parameters[1].value(), settings);
    Adam adam(parameters, settings);
    for (uint64_t step = 0; step < 25; ++step) {
      set_gradients(parameters, 10 * step);
      adam.step();
      first.update(parameters[0].grad());
      second.update(parameters[1].grad());
    }
    EXPECT_LT(test::normalised_error(parameters[0].value(), first.x), 2e-6);
    EXPECT_LT(test::normalised_error(parameters[1].value(), second.x), 2e-6);
  }
}

TEST(Adam, ANewLearningRateHoldsFromTheNextStep) {
  std::vector<Variable> parameters = two_parameters();
  Adam adam(parameters, {.lr = 0.5f});
  EXPECT_EQ(adam.lr(), 0.5f);
  adam.set_lr(0);
  EXPECT_EQ(adam.lr(), 0);
  const Tensor before = parameters[0].value().clone();
  set_gradients(parameters, 3);
  adam.step();
  EXPECT_TRUE(same_bytes(parameters[0].value(), before));
}

TEST(Adam, MultipliesTheLearningRateByEachParametersFactor) {
  std::vector<Variable> parameters = two_parameters(), plain = two_parameters();
  Adam adam(parameters, {.lr = 0.1f}, {0.0f, 0.25f}), slower(plain, {.lr = 0.025f});
  const Tensor before = parameters[0].value().clone();
  for (uint64_t step = 0; step < 5; ++step) {
    set_gradients(parameters, 10 * step);
    set_gradients(plain, 10 * step);
    adam.step();
    slower.step();
  }
  EXPECT_TRUE(same_bytes(parameters[0].value(), before));
  EXPECT_TRUE(same_bytes(parameters[1].value(), plain[1].value()));
  EXPECT_TRUE(throws_error([] { Adam(two_parameters(), {}, {1.0f}); }, "1 factors of the learning rate for 2"));
  EXPECT_TRUE(throws_error([] { Adam(two_parameters(), {}, {1.0f, -1.0f}); }, "a factor of lr"));
}

TEST(Adam, SkipsParametersWithoutAGradient) {
  std::vector<Variable> parameters = two_parameters();
  parameters.push_back(Variable(random_uniform({4}, 3)));  // frozen
  const Tensor frozen = parameters[2].value().clone(), idle = parameters[1].value().clone();
  Adam adam(parameters, {.lr = 0.1f});
  for (uint64_t step = 0; step < 7; ++step) {
    parameters[0].mutable_grad() = random_uniform({3, 5}, step);
    adam.step();
  }
  EXPECT_TRUE(same_bytes(parameters[2].value(), frozen));
  EXPECT_TRUE(same_bytes(parameters[1].value(), idle));

  Reference late(idle, {.lr = 0.1f});  // its bias correction starts with its own first gradient
  parameters[1].mutable_grad() = random_uniform({33}, 40);
  adam.step();
  late.update(parameters[1].grad());
  EXPECT_LT(test::normalised_error(parameters[1].value(), late.x), 1e-6);
}

TEST(Adam, ZeroGradForgetsTheGradients) {
  std::vector<Variable> parameters = two_parameters();
  set_gradients(parameters, 5);
  Adam adam(parameters);
  adam.zero_grad();
  for (const Variable& parameter : adam.parameters()) EXPECT_FALSE(parameter.grad());
}

TEST(Adam, ContinuesFromItsStateBitForBit) {
  for (const int before : {0, 1, 6}) {
    std::vector<Variable> parameters = two_parameters();
    Adam adam(parameters, {.lr = 0.1f});
    for (int step = 0; step < before; ++step) {
      parameters[0].mutable_grad() =
          random_uniform({3, 5}, static_cast<uint64_t>(step));  // the other has no moments yet
      adam.step();
    }
    const State state = adam.state();
    std::vector<Variable> copies;
    for (const Variable& parameter : parameters) copies.emplace_back(parameter.value().clone(), true);
    Adam resumed(copies, {.lr = 0.1f});
    const auto continue_with = [](Adam& optimizer, std::vector<Variable>& variables) {
      for (uint64_t step = 0; step < 5; ++step) {
        set_gradients(variables, 100 + 10 * step);
        optimizer.step();
      }
    };
    continue_with(adam, parameters);
    resumed.load_state(state);  // after the steps: they must not have written to it
    continue_with(resumed, copies);
    for (size_t i = 0; i < copies.size(); ++i) EXPECT_TRUE(same_bytes(copies[i].value(), parameters[i].value())) << i;
  }
}

TEST(Adam, RefusesAStateThatDoesNotFit) {
  std::vector<Variable> parameters = two_parameters();
  Adam adam(parameters);
  set_gradients(parameters, 6);
  adam.step();
  const State good = adam.state();
  const auto load = [&](const std::function<void(State&)>& spoil) {
    State state = good;
    spoil(state);
    return [&adam, state] { adam.load_state(state); };
  };
  EXPECT_TRUE(throws_error(load([](State& s) { s.clear(); }), "[adam] the state has no entry 'steps'"));
  EXPECT_TRUE(throws_error(load([](State& s) { s.erase("first_moment.1"); }), "'first_moment.1'"));
  EXPECT_TRUE(throws_error(load([](State& s) { s.erase("second_moment.0"); }), "'second_moment.0'"));
  EXPECT_TRUE(throws_error(load([](State& s) { s.at("steps") = Tensor::zeros({3}, Dtype::i64); }), "shape [3]"));
  EXPECT_TRUE(throws_error(load([](State& s) { s.at("steps") = Tensor::zeros({2}); }), "type f32"));
  EXPECT_TRUE(throws_error(load([](State& s) { s.at("first_moment.0") = Tensor::zeros({5, 3}); }), "[5,3]"));
  EXPECT_TRUE(throws_error(load([](State& s) { s.at("second_moment.1") = Tensor(); }), "'second_moment.1'"));
  EXPECT_TRUE(throws_error(load([](State& s) {
                             s.at("steps") = s.at("steps").clone();
                             s.at("steps").data<int64_t>()[1] = -4;
                           }),
                           "step -4"));
}

TEST(Adam, RefusesSettingsOutsideTheirRanges) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const auto make = [](const AdamSettings& settings) { return [settings] { Adam(two_parameters(), settings); }; };
  EXPECT_TRUE(throws_error(make({.lr = -1}), "[adam] lr is -1"));
  EXPECT_TRUE(throws_error(make({.lr = nan}), "lr is nan"));
  EXPECT_TRUE(throws_error(make({.beta1 = 1}), "beta1 is 1"));
  EXPECT_TRUE(throws_error(make({.beta2 = -0.5f}), "beta2 is -0.5"));
  EXPECT_TRUE(throws_error(make({.eps = 0}), "eps is 0"));
  EXPECT_TRUE(throws_error(make({.weight_decay = -1}), "weight_decay is -1"));
  EXPECT_TRUE(throws_error([] { Adam({Variable()}); }, "undefined variable"));
  Adam adam(two_parameters());
  EXPECT_TRUE(throws_error([&] { adam.set_lr(nan); }, "lr is nan"));
}

}  // namespace
}  // namespace minidl::optim
