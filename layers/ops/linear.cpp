#include <minidl/kernels/gemm.h>
#include <minidl/kernels/reduce.h>
#include <minidl/layers/ops.h>

namespace minidl::ops {
namespace {

class LinearNode final : public Node {
 public:
  LinearNode(const Wants& wants, const Tensor& input, const Tensor& weight) {
    if (wants(0)) weight_ = Saved(weight);
    if (wants(1)) input_ = Saved(input);
  }
  const char* name() const override { return "linear"; }

  void backward(const Tensor& grad_output, GradSink& grads) override {
    if (grads.wants(0)) {
      const auto [grad_input, beta, relu_mask] = grads.slot(0);
      linear_backward_data(weight_.get("linear"), grad_output, {beta, relu_mask}, grad_input);
    }
    if (grads.wants(1)) {
      const GradSink::Slot slot = grads.slot(1);
      linear_backward_weight(input_.get("linear"), grad_output, slot.beta, slot.grad);
    }
    if (grads.wants(2)) {
      const GradSink::Slot slot = grads.slot(2);
      sum_per_channel(grad_output, slot.beta, slot.grad);
    }
  }

 private:
  Saved input_, weight_;
};

}  // namespace

Variable linear(const Variable& input, const Variable& weight, const Variable& bias) {
  const Tensor& x = input.value();
  const Tensor& w = weight.value();
  MINIDL_CHECK(x.shape().rank() == 2 && w.shape().rank() == 2 && x.shape()[1] == w.shape()[1],
               "[linear] input {} does not fit weight {}: they must be [m,k] and [n,k]", x.shape(), w.shape());
  Tensor output = Tensor::empty({x.shape()[0], w.shape()[0]}, Dtype::f32, x.device());
  linear_forward(x, w, bias ? bias.value() : Tensor(), output);
  return record(std::move(output), {input, weight, bias},
                [&](const Wants& wants) { return std::make_unique<LinearNode>(wants, x, w); });
}

}  // namespace minidl::ops
