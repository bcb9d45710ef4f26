#include <minidl/core/allocator.h>
#include <support/compare.h>
#include <support/tape_nodes.h>

#include <stdexcept>

namespace minidl {
namespace {

using test::equals;
using test::LinearNode;
using test::Log;
using test::TapeTest;
using test::throws_error;

TEST_F(TapeTest, AddsUpOverAllPaths) {
  const Variable x = leaf({1, 2});
  const Variable y = linear("y", {x}, {3});
  const Variable z = linear("z", {x, y}, {5, 7});  // 5 x + 21 x
  const Variable loss = sum(z);
  EXPECT_EQ(loss.value().item(), 26 * 3);
  EXPECT_EQ(tape.size(), 3u);
  tape.backward(loss);
  EXPECT_TRUE(equals(x.grad(), {26, 26}));
  EXPECT_EQ(tape.size(), 0u);
  EXPECT_EQ(log.events, (std::vector<std::string>{"z 0 0", "y 1"}));
}

TEST_F(TapeTest, AnInputGivenTwiceIsWrittenTwice) {
  const Variable x = leaf({4});
  tape.backward(sum(linear("y", {x, x}, {2, 3})));
  EXPECT_TRUE(equals(x.grad(), {5}));
  EXPECT_EQ(log.events, (std::vector<std::string>{"y 0 1"}));
}

TEST_F(TapeTest, GradientsOfLeavesAddUpUntilTheyAreZeroed) {
  Variable x = leaf({1});
  tape.backward(sum(linear("a", {x}, {2})));
  tape.backward(sum(linear("b", {x}, {3})));
  EXPECT_TRUE(equals(x.grad(), {5}));
  x.zero_grad();
  tape.backward(sum(linear("c", {x}, {4})));
  EXPECT_TRUE(equals(x.grad(), {4}));
}

TEST_F(TapeTest, TheSeedScalesTheGradient) {
  const Variable x = leaf({1, 1});
  tape.backward(sum(linear("y", {x}, {2})), 0.25f);
  EXPECT_TRUE(equals(x.grad(), {0.5, 0.5}));
}

TEST_F(TapeTest, ConstantsAndFrozenWeightsAreNotWanted) {
  const Variable x = leaf({1}), constant(Tensor::full({1}, 5)), undefined;
  Variable frozen = leaf({2});
  frozen.set_requires_grad(false);
  const Variable y = linear("y", {x, constant, frozen}, {1, 1, 1});
  Wants seen(0);
  const Variable z = record(Tensor::zeros({1}), {constant, y, undefined}, [&](const Wants& wants) {
    seen = wants;
    return std::make_unique<LinearNode>("z", std::vector<float>{1, 1, 1}, &log);
  });
  EXPECT_FALSE(seen(0));
  EXPECT_TRUE(seen(1));
  EXPECT_FALSE(seen(2));
  EXPECT_TRUE(seen.any());
  tape.backward(sum(z));
  EXPECT_EQ(log.events, (std::vector<std::string>{"z - 0 -", "y 0 - -"}));
  EXPECT_FALSE(frozen.grad());
}

TEST_F(TapeTest, NothingIsRecordedThatNobodyWants) {
  const Variable constant(Tensor::full({1}, 5));
  const auto never = [](const Wants&) -> std::unique_ptr<Node> { throw std::logic_error("made a node"); };
  const Variable y = record(Tensor::zeros({1}), {constant}, never);
  EXPECT_FALSE(y.requires_grad());
  EXPECT_EQ(tape.size(), 0u);
}

TEST_F(TapeTest, UnusedBranchesAreSkippedAndFreed) {
  const Variable x = leaf({1});
  const Variable used = linear("used", {x}, {2});
  const Variable unused = linear("unused", {used}, {3});
  const Variable loss = sum(used);
  linear("after the loss", {used}, {4});
  EXPECT_EQ(log.live_nodes, 3);
  tape.backward(loss);
  EXPECT_EQ(log.events, (std::vector<std::string>{"used 0"}));
  EXPECT_TRUE(equals(x.grad(), {2}));
  EXPECT_FALSE(unused.grad());
  EXPECT_EQ(log.live_nodes, 0);
}

TEST_F(TapeTest, EveryWriterOfAReluOutputIsGivenItsMask) {
  const Variable x = leaf({-1, 2, 0, 3});
  const Variable relu = linear("relu", {x}, {1}, true);
  const Variable a = linear("a", {relu}, {2}), b = linear("b", {relu}, {5});
  tape.backward(sum(linear("c", {a, b}, {1, 1})));
  EXPECT_TRUE(equals(x.grad(), {0, 7, 0, 7}));
  EXPECT_EQ(log.events, (std::vector<std::string>{"c 0 0", "b 0m", "a 1m", "relu 0"}));
}

TEST_F(TapeTest, ALossThatIsAReluOutputIsMasked) {
  for (const float value : {-1.0f, 2.0f}) {
    const Variable x = leaf({value});
    tape.backward(linear("relu", {x}, {3}, true));
    EXPECT_TRUE(equals(x.grad(), {value > 0 ? 3.0 : 0.0}));
  }
}

TEST_F(TapeTest, AReluOutputIsNotNeededByItsMask) {
  const int64_t elements = 1 << 20;
  const Variable x(Tensor::full({elements}, 1.0f), true);
  const int64_t before = allocator(Device::cpu()).stats().in_use;
  Variable y = linear("relu", {x}, {1}, true);
  y = linear("next", {y}, {2});
  const int64_t kept = allocator(Device::cpu()).stats().in_use - before;
  EXPECT_LT(kept, elements * 4 + elements / 4);  // the last output and a bit for each element of the first one
  tape.backward(sum(y));
  EXPECT_TRUE(equals(x.grad(), std::vector<double>(elements, 2.0)));
}

TEST_F(TapeTest, IntermediateGradientsAndNodesAreFreedAsTheyAreUsed) {
  const int64_t elements = 1 << 20;
  const Variable x(Tensor::zeros({elements}), true);
  Allocator& memory = allocator(Device::cpu());
  Variable y = x;
  for (int i = 0; i < 10; ++i) y = linear("y", {y}, {1});
  const Variable loss = sum(y);
  y = Variable();  // as after a network's forward pass, the tape alone decides what is kept
  EXPECT_EQ(log.live_nodes, 10);
  memory.reset_peak();
  const int64_t before = memory.stats().in_use;
  tape.backward(loss);
  EXPECT_EQ(log.live_nodes, 0);
  const int64_t gradient = elements * 4;
  EXPECT_LE(memory.stats().peak_in_use - before, 3 * gradient);  // one read, one written, and sum's ones
  EXPECT_EQ(memory.stats().in_use - before, gradient);           // the leaf's
}

TEST_F(TapeTest, WhatIsUsedCannotBePostponed) {
  const Variable x = leaf({1});
  const Variable y = linear("y", {x}, {2});
  const Variable z = linear("z", {y}, {3});
  EXPECT_TRUE(throws_error([&] { tape.postpone(y); }, "y cannot come after z"));
  tape.postpone(z);
  tape.backward(sum(z));
  EXPECT_TRUE(equals(x.grad(), {6}));
}

TEST_F(TapeTest, BackwardNeedsAScalarFromThisTape) {
  const Variable x = leaf({1, 2});
  const Variable y = linear("y", {x}, {1});
  EXPECT_TRUE(throws_error([&] { tape.backward(y); }, "scalar loss"));
  EXPECT_EQ(tape.size(), 0u);
  EXPECT_EQ(log.live_nodes, 0);
  EXPECT_TRUE(throws_error([&] { tape.backward(Variable()); }, "scalar loss"));
  EXPECT_TRUE(throws_error([&] { tape.backward(Variable(Tensor::full({}, 1))); }, "not recorded on this tape"));
  EXPECT_TRUE(throws_error([&] { tape.backward(Variable(Tensor::full({}, 1), true)); }, "not recorded on this tape"));
  const Variable loss = sum(x);
  tape.backward(loss);
  EXPECT_TRUE(throws_error([&] { tape.backward(loss); }, "not recorded on this tape"));
}

TEST_F(TapeTest, AnExceptionInANodeEmptiesTheTape) {
  class FailingNode final : public Node {
   public:
    const char* name() const override { return "failing"; }
    void backward(const Tensor&, GradSink&) override { fail("[failing] broke"); }
  };
  const Variable x = leaf({1});
  const Variable y = linear("y", {x}, {1});
  const Variable loss = record(Tensor::full({}, 0), {y}, [](const Wants&) { return std::make_unique<FailingNode>(); });
  EXPECT_TRUE(throws_error([&] { tape.backward(loss); }, "[failing] broke"));
  EXPECT_EQ(tape.size(), 0u);
  EXPECT_EQ(log.live_nodes, 0);
  tape.backward(sum(linear("again", {x}, {2})));
  EXPECT_TRUE(equals(x.grad(), {2}));
}

TEST_F(TapeTest, RefusesMoreInputsThanItCanCount) {
  const Variable v = leaf({1});
  const auto never = [](const Wants&) -> std::unique_ptr<Node> { throw std::logic_error("made a node"); };
  EXPECT_TRUE(throws_error(
      [&] {
        record(Tensor::zeros({1}),
               {v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v},
               never);
      },
      "33 inputs"));
}

TEST_F(TapeTest, ClearForgetsWhatWasRecorded) {
  const Variable x = leaf({1});
  const Variable loss = sum(linear("y", {x}, {1}));
  tape.clear();
  EXPECT_EQ(tape.size(), 0u);
  EXPECT_EQ(log.live_nodes, 0);
  EXPECT_TRUE(throws_error([&] { tape.backward(loss); }, "not recorded"));
}

TEST(TapeScope, NestsAndEnds) {
  EXPECT_EQ(Tape::current(), nullptr);
  Tape outer, inner;
  {
    const TapeScope first(outer);
    EXPECT_EQ(Tape::current(), &outer);
    {
      const TapeScope second(inner);
      EXPECT_EQ(Tape::current(), &inner);
    }
    EXPECT_EQ(Tape::current(), &outer);
  }
  EXPECT_EQ(Tape::current(), nullptr);
  const Variable x(Tensor::full({}, 1), true);
  const auto never = [](const Wants&) -> std::unique_ptr<Node> { throw std::logic_error("made a node"); };
  EXPECT_FALSE(record(Tensor::full({}, 2), {x}, never).requires_grad());
}

}  // namespace
}  // namespace minidl
