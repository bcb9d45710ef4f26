#include <minidl/kernels/batch_norm.h>
#include <minidl/layers/ops.h>
#include <minidl/layers/ops/norm_support.h>
#include <minidl/layers/ops/relu_mask.h>

namespace minidl::ops {
namespace {

class BatchNormNode final : public Node {
 public:
  BatchNormNode(const Tensor& input, const Tensor& weight, Tensor mean, Tensor rstd)
      : input_(input), weight_(weight), mean_(std::move(mean)), rstd_(std::move(rstd)) {}
  const char* name() const override { return "batch_norm"; }
  void backward(const Tensor& grad_output, GradSink& grads) override {
    batch_norm_backward(input_.get("batch_norm"), weight_.get("batch_norm"), mean_, rstd_, grad_output,
                        norm_grads(grads));
  }

 private:
  Saved input_, weight_;
  Tensor mean_, rstd_;  // [c], of this batch
};

class BatchNormEvaluationNode final : public Node {
 public:
  BatchNormEvaluationNode(const Tensor& input, const Tensor& weight, const BatchNormState& state, float eps)
      : input_(input), weight_(weight), mean_(state.running_mean), variance_(state.running_variance), eps_(eps) {}
  const char* name() const override { return "batch_norm"; }
  void backward(const Tensor& grad_output, GradSink& grads) override {
    batch_norm_backward_evaluation(input_.get("batch_norm"), weight_.get("batch_norm"), mean_.get("batch_norm"),
                                   variance_.get("batch_norm"), eps_, grad_output, norm_grads(grads));
  }

 private:
  Saved input_, weight_, mean_, variance_;
  float eps_;
};

}  // namespace

Variable batch_norm(Variable input, const Variable& weight, const Variable& bias, BatchNormState& state, float eps,
                    Activation activation) {
  const Tensor& x = input.value();
  MINIDL_CHECK(x.shape().rank() == 4, "[batch_norm] input {} must be [n,h,w,c]", x.shape());
  const Tensor w = per_channel(weight, x, 1.0f), b = per_channel(bias, x, 0.0f);
  Tensor output = output_over(input, {input, weight, bias});
  if (!state.training) {
    batch_norm_forward_evaluation(x, w, b, state.running_mean, state.running_variance, eps, activation, output);
    BitMask mask = filled_relu_mask(activation, {input, weight, bias}, output);
    return record(
        std::move(output), {input, weight, bias},
        [&](const Wants&) { return std::make_unique<BatchNormEvaluationNode>(x, w, state, eps); }, std::move(mask));
  }
  Tensor mean = Tensor::empty({x.shape()[3]}, Dtype::f32, x.device());
  Tensor rstd = Tensor::empty(mean.shape(), Dtype::f32, x.device());
  const BatchNormRunning running{state.running_mean, state.running_variance, state.momentum};
  batch_norm_forward_training(x, w, b, eps, activation, running, output, mean, rstd);
  BitMask mask = filled_relu_mask(activation, {input, weight, bias}, output);
  return record(
      std::move(output), {input, weight, bias},
      [&](const Wants&) { return std::make_unique<BatchNormNode>(x, w, std::move(mean), std::move(rstd)); },
      std::move(mask));
}

}  // namespace minidl::ops
