#include <minidl/core/allocator.h>
#include <minidl/core/tape.h>
#include <support/compare.h>
#include <support/masks.h>

#include <numeric>
#include <stdexcept>

namespace minidl {
namespace {

using test::equals;
using test::throws_error;

/// target = beta * target + (mask ? factor * x : 0), elementwise; without a mask everything.
void accumulate(Tensor& target, float beta, const BitMask* mask, float factor, const Tensor& x) {
  for (int64_t i = 0; i < x.count(); ++i) {
    const bool passes = !mask || mask->span()[i];
    const float old = beta == 0 ? 0 : beta * target.span<float>()[i];
    target.data<float>()[i] = old + (passes ? factor * x.span<float>()[i] : 0);
  }
}

/// What the fake nodes did, in order.
struct Log {
  std::vector<std::string> events;
  int live_nodes = 0;
};

/// output = sum of factor[i] * input[i], elementwise.
class LinearNode final : public Node {
 public:
  LinearNode(const char* name, std::vector<float> factors, Log* log)
      : name_(name), factors_(std::move(factors)), log_(log) {
    ++log_->live_nodes;
  }
  ~LinearNode() override { --log_->live_nodes; }
  const char* name() const override { return name_; }
  void backward(const Tensor& grad_output, GradSink& grads) override {
    std::string event = name_;
    for (int i = 0; i < static_cast<int>(factors_.size()); ++i) {
      if (!grads.wants(i)) {
        event += " -";
        continue;
      }
      const GradSink::Slot slot = grads.slot(i);
      event += slot.beta == 0 ? " 0" : " 1";
      if (slot.relu_mask) event += "m";
      accumulate(slot.grad, slot.beta, slot.relu_mask, factors_[static_cast<size_t>(i)], grad_output);
    }
    log_->events.push_back(event);
  }

 private:
  const char* name_;
  std::vector<float> factors_;
  Log* log_;
};

class TapeTest : public ::testing::Test {
 protected:
  Variable linear(const char* name, Inputs inputs, std::vector<float> factors, bool is_relu = false) {
    Tensor output;
    size_t i = 0;
    for (const Variable& input : inputs) {
      if (!output) output = Tensor::zeros(input.shape());
      accumulate(output, 1, nullptr, factors[i++], input.value());
    }
    if (is_relu) {
      for (float& value : output.span<float>()) value = std::max(0.0f, value);
    }
    BitMask mask = is_relu ? test::positive(output) : BitMask();
    const auto make_node = [&](const Wants&) { return std::make_unique<LinearNode>(name, factors, &log); };
    return record(output, inputs, make_node, std::move(mask));
  }

  /// Sum of the elements.
  Variable sum(const Variable& x) {
    class SumNode final : public Node {
     public:
      const char* name() const override { return "sum"; }
      void backward(const Tensor& grad_output, GradSink& grads) override {
        const GradSink::Slot slot = grads.slot(0);
        accumulate(slot.grad, slot.beta, slot.relu_mask, grad_output.item(), Tensor::full(slot.grad.shape(), 1));
      }
    };
    const std::span<const float> values = x.value().span<float>();
    const float total = std::accumulate(values.begin(), values.end(), 0.0f);
    return record(Tensor::full({}, total), {x}, [](const Wants&) { return std::make_unique<SumNode>(); });
  }

  static Variable leaf(std::vector<float> values) {
    return Variable(Tensor::from(values, {static_cast<int64_t>(values.size())}), true);
  }

  Log log;
  Tape tape;
  TapeScope recording{tape};
};

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

/// A deferred `factor`, the same for every element.
class DeferredConstant final : public DeferredGrad {
 public:
  DeferredConstant(float factor, Log* log) : factor_(factor), log_(log) { ++log_->live_nodes; }
  ~DeferredConstant() override { --log_->live_nodes; }
  void add_to(Tensor& grad, float beta, const BitMask* relu_mask) override {
    log_->events.push_back(std::string("term") + (beta == 0 ? " 0" : " 1") + (relu_mask ? "m" : ""));
    accumulate(grad, beta, relu_mask, factor_, Tensor::full(grad.shape(), 1));
  }

 private:
  float factor_;
  Log* log_;
};

/// A scalar 0 whose gradient with respect to its input is `factor`, left as a deferred term.
class DeferringNode final : public Node {
 public:
  DeferringNode(float factor, Log* log) : factor_(factor), log_(log) {}
  const char* name() const override { return "gram"; }
  void backward(const Tensor& grad_output, GradSink& grads) override {
    log_->events.push_back("gram");
    grads.defer(0, std::make_unique<DeferredConstant>(factor_ * grad_output.item(), log_));
  }

 private:
  float factor_;
  Log* log_;
};

class DeferredTest : public TapeTest {
 protected:
  Variable gram(const Variable& x, float factor) {
    return record(Tensor::full({}, 0), {x},
                  [&](const Wants&) { return std::make_unique<DeferringNode>(factor, &log); });
  }
};

TEST_F(DeferredTest, ATermIsAddedWhenTheGradientIsRead) {
  const Variable x = leaf({-1, 2});
  const Variable relu = linear("relu", {x}, {1}, true);
  const Variable a = sum(relu), b = gram(relu, 10);
  tape.backward(linear("loss", {a, b}, {1, 1}));
  EXPECT_EQ(log.events, (std::vector<std::string>{"loss 0 0", "gram", "term 1m", "relu 0"}));
  EXPECT_TRUE(equals(x.grad(), {0, 11}));
  EXPECT_EQ(log.live_nodes, 0);
}

TEST_F(DeferredTest, ATermMayBeAllThereIs) {
  const Variable x = leaf({-1, 2});
  const Variable relu = linear("relu", {x}, {1}, true);
  tape.backward(gram(relu, 4));
  EXPECT_EQ(log.events, (std::vector<std::string>{"gram", "term 0m", "relu 0"}));
  EXPECT_TRUE(equals(x.grad(), {0, 4}));
}

TEST_F(DeferredTest, TermsOfALeafAreAddedAtTheEnd) {
  Variable x = leaf({5, 6});
  x.mutable_grad() = Tensor::full({2}, 100);
  const Variable a = gram(x, 1), b = gram(x, 2);
  const Variable c = sum(linear("c", {x}, {7}));
  const Variable ab = linear("ab", {a, b}, {1, 1});
  tape.backward(linear("loss", {ab, c}, {1, 1}));
  EXPECT_TRUE(equals(x.grad(), {110, 110}));
  EXPECT_EQ(std::count(log.events.begin(), log.events.end(), "term 1"), 2);
  EXPECT_EQ(log.live_nodes, 0);
}

TEST_F(DeferredTest, AWriterMayTakeATermOut) {
  class FusingNode final : public Node {
   public:
    const char* name() const override { return "fusing"; }
    void backward(const Tensor& grad_output, GradSink& grads) override {
      const GradSink::Slot slot = grads.slot(0);
      accumulate(slot.grad, slot.beta, slot.relu_mask, 1, Tensor::full(slot.grad.shape(), grad_output.item()));
      for (auto& term : std::exchange(grads.deferred(0), {})) term->add_to(slot.grad, 1, slot.relu_mask);
    }
  };
  const Variable x = leaf({5});
  const Variable y = linear("y", {x}, {1});
  const Variable fused = record(Tensor::full({}, 0), {y}, [](const Wants&) { return std::make_unique<FusingNode>(); });
  const Variable deferred = gram(y, 3);
  tape.backward(linear("loss", {fused, deferred}, {1, 1}));
  EXPECT_TRUE(equals(x.grad(), {4}));
  EXPECT_EQ(log.events, (std::vector<std::string>{"loss 0 0", "gram", "term 1", "y 0"}));
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
