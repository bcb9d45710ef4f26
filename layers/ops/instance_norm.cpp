#include <minidl/kernels/elementwise.h>
#include <minidl/layers/ops.h>
#include <minidl/layers/ops/norm_support.h>
#include <minidl/layers/ops/relu_mask.h>

namespace minidl::ops {
namespace {

class InstanceNormNode final : public Node {
 public:
  InstanceNormNode(const Tensor& input, const Tensor& weight, Tensor mean, Tensor rstd)
      : input_(input), weight_(weight), mean_(std::move(mean)), rstd_(std::move(rstd)) {}
  const char* name() const override { return "instance_norm"; }
  void backward(const Tensor& grad_output, GradSink& grads) override {
    if (grads.wants(3)) {
      const auto [grad_residual, beta, relu_mask] = grads.slot(3);
      accumulate_scaled(1.0f, grad_output, {beta, relu_mask}, grad_residual);
    }
    instance_norm_backward(input_.get("instance_norm"), weight_.get("instance_norm"), mean_, rstd_, grad_output,
                           norm_grads(grads));
  }

 private:
  Saved input_, weight_;
  Tensor mean_, rstd_;  // [n, c]
};

/// A pass over the input gives the output anew, so a backward pass need not keep both. Not with a residual, which would
/// have to be kept in its place.
Recompute recompute_instance_norm(const Tensor& input, const Tensor& weight, const Tensor& bias, float eps,
                                  Activation activation) {
  return
      [input = Saved(input), weight = Saved(weight), bias = Saved(bias), eps, activation](int64_t begin, int64_t end) {
        const Tensor x = input.get("instance_norm");
        Tensor output = Tensor::empty(x.shape(), Dtype::f32, x.device());
        Tensor mean = Tensor::empty({x.shape()[0], x.shape()[3]}, Dtype::f32, x.device());
        Tensor rstd = Tensor::empty(mean.shape(), Dtype::f32, x.device());
        instance_norm_forward(x, weight.get("instance_norm"), bias.get("instance_norm"), eps, activation, output, mean,
                              rstd);
        return rows_of(output, begin, end);
      };
}

}  // namespace

Variable instance_norm(Variable input, const Variable& weight, const Variable& bias, float eps, Activation activation,
                       const Variable& residual, bool for_convolution) {
  const Tensor& x = input.value();
  MINIDL_CHECK(x.shape().rank() == 4, "[instance_norm] input {} must be [n,h,w,c]", x.shape());
  const Tensor w = per_channel(weight, x, 1.0f), b = per_channel(bias, x, 0.0f);
  const Inputs inputs = {input, weight, bias, residual};
  const Dtype type = for_convolution && !Tape::current() ? conv2d_input_type(x.device(), x.shape()[3]) : Dtype::f32;
  Tensor output = type == Dtype::f32 ? output_over(input, inputs) : Tensor::empty(x.shape(), type, x.device());
  Tensor mean = Tensor::empty({x.shape()[0], x.shape()[3]}, Dtype::f32, x.device());
  Tensor rstd = Tensor::empty(mean.shape(), Dtype::f32, x.device());
  instance_norm_forward(x, w, b, eps, activation, output, mean, rstd, residual ? residual.value() : Tensor());
  BitMask mask = filled_relu_mask(activation, inputs, output);
  Variable result = record(
      std::move(output), inputs,
      [&](const Wants&) { return std::make_unique<InstanceNormNode>(x, w, std::move(mean), std::move(rstd)); },
      std::move(mask));
  if (result.requires_grad() && !residual) result.set_recompute(recompute_instance_norm(x, w, b, eps, activation));
  return result;
}

}  // namespace minidl::ops
