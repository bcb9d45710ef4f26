// Terms that are told the weight with which they go into the loss: on a CUDA device their gradients are computed with
// their values. They are the same, whatever the weight turns out to be and whoever else writes to the gradient.
#include <minidl/layers/ops.h>
#include <support/compare.h>
#include <support/device.h>
#include <support/random_tensors.h>

#include <gtest/gtest.h>

namespace minidl {
namespace {

using test::random_uniform;

constexpr float kWeight = 0.75f;  // with which gradients are exact, so that their order does not show
const Shape kShape{2, 5, 6, 3};

struct Term {
  const char* name;
  std::function<Variable(const Variable& x, float told)> make;
};
std::vector<Term> terms() {
  const Tensor target = test::random_integers(kShape, 1).to(test::device());
  using Kind = ops::TotalVariationKind;
  return {{"content", [=](const Variable& x, float told) { return ops::content_loss(x, target, 2.0f, told); }},
          {"variation", [](const Variable& x, float told) { return ops::total_variation(x, 0.5f, Kind::full, told); }},
          {"interior",
           [](const Variable& x, float told) { return ops::total_variation(x, 2.0f, Kind::interior, told); }}};
}

Tensor gradient(const std::function<Variable(const Variable&)>& loss, float seed = 1.0f) {
  const Variable x(test::random_integers(kShape, 2).to(test::device()), true);
  Tape tape;
  const TapeScope recording(tape);
  tape.backward(loss(x), seed);
  return x.grad().to(Device::cpu());
}

TEST(ReadyGradients, AreThoseOfTheTerm) {
  for (const Term& term : terms()) {
    for (const bool behind_relu : {false, true}) {
      for (const float weight : {kWeight, 3.0f, 0.0f}) {
        const auto of = [&](float told, float seed) {
          return gradient(
              [&](const Variable& x) { return weight * term.make(behind_relu ? ops::relu(x) : x, told); }, seed);
        };
        EXPECT_TRUE(test::same_bytes(of(kWeight, 1.0f), of(0.0f, 1.0f))) << term.name << " " << weight;
        EXPECT_TRUE(test::same_bytes(of(kWeight, 8.0f), of(0.0f, 8.0f))) << term.name << " " << weight;
      }
    }
  }
}

TEST(ReadyGradients, AddUpWithOthers) {
  for (const Term& term : terms()) {
    for (const bool behind_relu : {false, true}) {
      const auto of = [&](float told, bool first) {
        return gradient([&](const Variable& input) {
          const Variable x = behind_relu ? ops::relu(input) : input;
          const auto weighted = [&] { return kWeight * term.make(x, told); };
          const auto others = [&] { return 2.0f * ops::sum(x) + kWeight * term.make(x, told); };
          return first ? weighted() + others() : others() + weighted();
        });
      };
      EXPECT_TRUE(test::same_bytes(of(kWeight, true), of(0.0f, true))) << term.name;
      EXPECT_TRUE(test::same_bytes(of(kWeight, false), of(0.0f, false))) << term.name;
    }
  }
}

TEST(ReadyGradients, ValuesAreThoseOfTheTerm) {
  for (const Term& term : terms()) {
    Tape tape;
    const TapeScope recording(tape);
    const Variable x(random_uniform(kShape, 3).to(test::device()), true);
    EXPECT_EQ(term.make(x, kWeight).value().item(), term.make(x, 0.0f).value().item()) << term.name;
  }
}

}  // namespace
}  // namespace minidl
