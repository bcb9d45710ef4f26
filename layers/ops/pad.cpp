#include <minidl/kernels/pad.h>
#include <minidl/layers/ops.h>

namespace minidl::ops {
namespace {

class PadNode final : public Node {
 public:
  explicit PadNode(const Padding& padding) : padding_(padding) {}
  const char* name() const override { return "pad"; }
  void backward(const Tensor& grad_output, GradSink& grads) override {
    const auto [grad_input, beta, relu_mask] = grads.slot(0);
    pad_backward(grad_output, padding_, {beta, relu_mask}, grad_input);
  }

 private:
  Padding padding_;
};

}  // namespace

Variable pad(const Variable& x, const Padding& padding) {
  Tensor output = Tensor::empty(padded_shape(x.shape(), padding), Dtype::f32, x.value().device());
  pad_forward(x.value(), padding, output);
  return record(std::move(output), {x}, [&](const Wants&) { return std::make_unique<PadNode>(padding); });
}

}  // namespace minidl::ops
