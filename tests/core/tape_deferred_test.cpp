// Contributions to gradients that are left to whoever writes next.
#include <support/compare.h>
#include <support/tape_nodes.h>

#include <algorithm>

namespace minidl {
namespace {

using test::accumulate;
using test::equals;
using test::Log;
using test::TapeTest;

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

TEST_F(DeferredTest, APostponedTermIsThereWhenOthersWrite) {
  for (const bool postponed : {false, true}) {
    log.events.clear();
    Variable x = leaf({5});
    const Variable y = linear("y", {x}, {1});
    const Variable deferred = gram(y, 3), next = linear("next", {y}, {2}), constant(Tensor::full({}, 1));
    if (postponed) tape.postpone(deferred);
    tape.postpone(constant);  // nothing recorded it
    const Variable other = sum(next);
    tape.backward(linear("loss", {other, deferred}, {1, 1}));
    EXPECT_TRUE(equals(x.grad(), {5}));
    const auto order = postponed ? std::vector<std::string>{"loss 0 0", "gram", "next 0", "term 1", "y 0"}
                                 : std::vector<std::string>{"loss 0 0", "next 0", "gram", "term 1", "y 0"};
    EXPECT_EQ(log.events, order);
  }
}

}  // namespace
}  // namespace minidl
