#include <minidl/kernels/conv2d.h>
#include <minidl/kernels/upsample_conv2d.h>
#include <minidl/layers/ops.h>

namespace minidl::ops {
namespace {

class UpsampleConv2dNode final : public Node {
 public:
  UpsampleConv2dNode(const UpsampleConv2dDesc& desc, const Wants& wants, const Variable& input, const Tensor& weight)
      : desc_(desc) {
    if (wants(0)) weight_ = Saved(weight);
    if (wants(1)) input_ = Saved(input);
  }
  const char* name() const override { return "upsample_conv2d"; }

  void backward(const Tensor& grad_output, GradSink& grads) override {
    if (grads.wants(1)) grad_output.share_derived();  // both products read it in the form that is left with it
    if (grads.wants(0)) {
      const auto [grad_input, beta, relu_mask] = grads.slot(0);
      upsample_conv2d_backward_data(desc_, weight_.get("upsample_conv2d"), grad_output, {beta, relu_mask}, grad_input);
    }
    if (grads.wants(1)) {
      const GradSink::Slot slot = grads.slot(1);
      upsample_conv2d_backward_weight(desc_, input_.get("upsample_conv2d"), grad_output, slot.beta, slot.grad);
    }
    if (grads.wants(2)) {
      const GradSink::Slot slot = grads.slot(2);
      conv2d_backward_bias(grad_output, slot.beta, slot.grad);
    }
  }

 private:
  UpsampleConv2dDesc desc_;
  Saved input_, weight_;
};

}  // namespace

Variable upsample_conv2d(const Variable& input, const Variable& weight, const Variable& bias, Padding::Mode padding) {
  const Tensor& x = input.value();
  const Tensor& w = weight.value();
  const UpsampleConv2dDesc desc = UpsampleConv2dDesc::make(x.shape(), w.shape(), padding);
  Tensor output = Tensor::empty(desc.output_shape(), Dtype::f32, x.device());
  upsample_conv2d_forward(desc, x, w, bias ? bias.value() : Tensor(), output);
  return record(std::move(output), {input, weight, bias},
                [&](const Wants& wants) { return std::make_unique<UpsampleConv2dNode>(desc, wants, input, w); });
}

}  // namespace minidl::ops
