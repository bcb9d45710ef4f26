#include <minidl/kernels/elementwise.h>
#include <minidl/layers/ops.h>

namespace minidl::ops {
namespace {

/// Directions change roles: the gradient of the input is a convolution of grad_output, and that of the weight is one of
/// a convolution whose input is grad_output.
class Conv2dTransposeNode final : public Node {
 public:
  Conv2dTransposeNode(const Conv2dDesc& desc, const Wants& wants, const Variable& input, const Tensor& weight)
      : desc_(desc) {
    if (wants(0)) weight_ = Saved(weight);
    if (wants(1)) input_ = Saved(input);
  }
  const char* name() const override { return "conv2d_transpose"; }

  void backward(const Tensor& grad_output, GradSink& grads) override {
    if (grads.wants(1)) grad_output.share_derived();  // both products read it in the form that is left with it
    if (grads.wants(0)) {
      const auto [grad_input, beta, relu_mask] = grads.slot(0);
      input_backward(grad_output, {beta, relu_mask}, grad_input);
    }
    if (grads.wants(1)) {
      const GradSink::Slot slot = grads.slot(1);
      conv2d_backward_weight(desc_, grad_output, input_.get("conv2d_transpose"), slot.beta, slot.grad);
    }
    if (grads.wants(2)) {
      const GradSink::Slot slot = grads.slot(2);
      conv2d_backward_bias(grad_output, slot.beta, slot.grad);
    }
  }

 private:
  void input_backward(const Tensor& grad_output, const Accumulate& how, Tensor& grad_input) {
    const Tensor& weight = weight_.get("conv2d_transpose");
    if (how.beta == 0.0f && !how.relu_mask) {
      conv2d_forward(desc_, grad_output, weight, Tensor(), Activation::none, grad_input);
      return;
    }
    Tensor grad = Tensor::empty(grad_input.shape(), Dtype::f32, grad_input.device());
    conv2d_forward(desc_, grad_output, weight, Tensor(), Activation::none, grad);
    accumulate_scaled(1.0f, grad, how, grad_input);
  }

  Conv2dDesc desc_;
  Saved input_, weight_;
};

}  // namespace

Variable conv2d_transpose(const Variable& input, const Variable& weight, const Variable& bias, const Window& window,
                          int64_t out_h, int64_t out_w) {
  const Tensor& x = input.value();
  const Tensor& w = weight.value();
  MINIDL_CHECK(x.shape().rank() == 4 && w.shape().rank() == 4 && w.shape()[0] == x.shape()[3],
               "[conv2d_transpose] input {} does not fit weight {}: they must be [n,h,w,c] and [c,k_h,k_w,out_c]",
               x.shape(), w.shape());
  const Conv2dDesc desc = Conv2dDesc::make({x.shape()[0], out_h, out_w, w.shape()[3]}, w.shape(), window);
  MINIDL_CHECK(desc.output_shape() == x.shape(),
               "[conv2d_transpose] an output of {}x{} pixels belongs to input {}, input is {}", out_h, out_w,
               desc.output_shape(), x.shape());
  Tensor output = Tensor::empty(desc.input_shape(), Dtype::f32, x.device());
  conv2d_backward_data(desc, w, x, {}, output);
  if (bias) add_per_channel(1.0f, output, bias.value(), output);
  return record(std::move(output), {input, weight, bias},
                [&](const Wants& wants) { return std::make_unique<Conv2dTransposeNode>(desc, wants, input, w); });
}

}  // namespace minidl::ops
