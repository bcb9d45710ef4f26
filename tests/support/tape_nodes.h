#pragma once
#include <gtest/gtest.h>
#include <minidl/core/tape.h>
#include <support/masks.h>

#include <numeric>
#include <string>
#include <vector>

namespace minidl::test {

/// target = beta * target + (mask ? factor * x : 0), elementwise; without a mask everything.
inline void accumulate(Tensor& target, float beta, const BitMask* mask, float factor, const Tensor& x) {
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
    BitMask mask = is_relu ? positive(output) : BitMask();
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

}  // namespace minidl::test
