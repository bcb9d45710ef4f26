#include <minidl/kernels/log_softmax.h>
#include <minidl/layers/ops.h>

namespace minidl::ops {
namespace {

class LogSoftmaxNode final : public Node {
 public:
  explicit LogSoftmaxNode(const Tensor& output) : output_(output) {}
  const char* name() const override { return "log_softmax"; }
  void backward(const Tensor& grad_output, GradSink& grads) override {
    const auto [grad_input, beta, relu_mask] = grads.slot(0);
    log_softmax_backward(output_.get("log_softmax"), grad_output, {beta, relu_mask}, grad_input);
  }

 private:
  Saved output_;
};

}  // namespace

Variable log_softmax(const Variable& x) {
  Tensor output = Tensor::empty(x.shape(), Dtype::f32, x.value().device());
  log_softmax_forward(x.value(), output);
  return record(output, {x}, [&](const Wants&) { return std::make_unique<LogSoftmaxNode>(output); });
}

}  // namespace minidl::ops
