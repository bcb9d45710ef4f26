#pragma once
#include <minidl/core/tape.h>
#include <support/compare.h>
#include <support/random_tensors.h>

#include <vector>

namespace minidl::test {

/// A differentiable function of some variables.
using Function = std::function<Variable(const std::vector<Variable>&)>;

struct GradcheckOptions {
  double step = 0.25;      // of the differences
  double tolerance = 0.0;  // on the normalised error of each gradient; 0: equal, for functions linear within the step
                           // and inputs whose sums are exact in f32
};

/// sum over i of coefficients[i] * x[i] as a recorded scalar, written here so that it does not lean on the ops under
/// test.
inline Variable weighted_sum(const Variable& x, const Tensor& coefficients) {
  class WeightedSumNode final : public Node {
   public:
    explicit WeightedSumNode(Tensor coefficients) : coefficients_(std::move(coefficients)) {}
    const char* name() const override { return "weighted_sum"; }
    void backward(const Tensor& grad_output, GradSink& grads) override {
      const GradSink::Slot slot = grads.slot(0);
      const float factor = grad_output.item();
      const std::span<const float> coefficients = std::as_const(coefficients_).span<float>();
      float* grad = slot.grad.data<float>();
      for (size_t i = 0; i < coefficients.size(); ++i) {
        const float term =
            !slot.relu_mask || slot.relu_mask->span()[static_cast<int64_t>(i)] ? factor * coefficients[i] : 0.0f;
        grad[i] = slot.beta == 0.0f ? term : grad[i] + term;
      }
    }

   private:
    Tensor coefficients_;
  };
  Tensor sum = Tensor::full({}, static_cast<float>(inner_product(x.value(), coefficients)));
  return record(std::move(sum), {x}, [&](const Wants&) { return std::make_unique<WeightedSumNode>(coefficients); });
}

namespace gradcheck_detail {

/// Gradients of weighted_sum(function(inputs)) for the inputs named by `wanted`, added up over two backward passes.
inline std::vector<Tensor> tape_gradients(const Function& function, const std::vector<Tensor>& inputs,
                                          const Tensor& coefficients, const std::vector<bool>& wanted) {
  std::vector<Variable> variables;
  for (size_t i = 0; i < inputs.size(); ++i) variables.emplace_back(inputs[i], wanted[i]);
  for (int pass = 0; pass < 2; ++pass) {
    Tape tape;
    const TapeScope recording(tape);
    tape.backward(weighted_sum(function(variables), coefficients));
  }
  std::vector<Tensor> gradients;
  for (const Variable& variable : variables) gradients.push_back(variable.grad());
  return gradients;
}

/// Derivative of `loss` by one element: central differences, of fourth order where the function is curved.
inline double difference(const std::function<double()>& loss, float& element, const GradcheckOptions& options) {
  const float original = element;
  const auto at = [&](double offset) {
    element = static_cast<float>(original + offset * options.step);
    const double value = loss();
    element = original;
    return value;
  };
  const double first = (at(1) - at(-1)) / (2.0 * options.step);
  if (options.tolerance == 0.0) return first;
  const double second = (at(2) - at(-2)) / (4.0 * options.step);
  return (4.0 * first - second) / 3.0;
}

}  // namespace gradcheck_detail

/// Checks the tape's gradients of sum(coefficients * function(inputs)) for random whole coefficients: all inputs at
/// once against differences, then each input alone (the others constant) for the same bytes; and that nothing is
/// recorded when no input wants a gradient.
inline ::testing::AssertionResult gradcheck(const Function& function, const std::vector<Tensor>& originals,
                                            const GradcheckOptions& options = {}) {
  std::vector<Tensor> inputs;
  std::vector<Variable> constants;
  for (const Tensor& original : originals) {
    inputs.push_back(original.clone());
    constants.emplace_back(inputs.back());
  }
  Tape tape;
  Shape output_shape;
  {
    const TapeScope recording(tape);
    output_shape = function(constants).shape();
  }
  if (tape.size() != 0) return ::testing::AssertionFailure() << "constants were recorded";

  const Tensor coefficients = random_integers(output_shape, 99, 1, 4);
  const std::function<double()> loss = [&] { return inner_product(function(constants).value(), coefficients); };
  const std::vector<bool> all(inputs.size(), true);
  const std::vector<Tensor> gradients = gradcheck_detail::tape_gradients(function, inputs, coefficients, all);
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!gradients[i]) return ::testing::AssertionFailure() << "input " << i << " has no gradient";
    std::vector<double> expected;
    for (float& element : inputs[i].span<float>()) {
      expected.push_back(2.0 * gradcheck_detail::difference(loss, element, options));
    }
    if (options.tolerance == 0.0) {
      const ::testing::AssertionResult same = equals(gradients[i], expected);
      if (!same) return ::testing::AssertionFailure() << "gradient of input " << i << ": " << same.message();
    }
    const double error = normalised_error(gradients[i], expected);
    if (!(error <= options.tolerance)) {
      return ::testing::AssertionFailure() << "gradient of input " << i << " is off by " << error;
    }
    std::vector<bool> only(inputs.size(), false);
    only[i] = true;
    const std::vector<Tensor> alone = gradcheck_detail::tape_gradients(function, inputs, coefficients, only);
    if (!same_bytes(alone[i], gradients[i])) {
      return ::testing::AssertionFailure() << "gradient of input " << i << " changes when the others are constant";
    }
  }
  return ::testing::AssertionSuccess();
}

}  // namespace minidl::test
