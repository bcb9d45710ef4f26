#include <minidl/kernels/conv2d_pool2d.h>
#include <minidl/layers/ops.h>
#include <minidl/layers/ops/relu_mask.h>

namespace minidl::ops {
namespace {

class Conv2dNode : public Node {
 public:
  Conv2dNode(const Conv2dDesc& desc, const Wants& wants, const Variable& input, const Tensor& weight)
      : desc_(desc), input_route_(route_of(input.value())) {
    if (wants(0)) weight_ = Saved(weight);
    if (wants(1)) input_ = Saved(input);
  }
  const char* name() const override { return "conv2d"; }

  void backward(const Tensor& grad_output, GradSink& grads) override {
    if (grads.wants(1)) grad_output.share_derived();  // both products read it in the form that is left with it
    if (grads.wants(0)) {
      const std::unique_ptr<GramTerm> term = GramTerm::take(desc_, grads, grad_output.device());
      // On a CUDA device the last writer leaves its results in the form in which the next convolution reads them.
      if (grad_output.device().kind == Device::Kind::cuda) grads.add_deferred(0);
      const auto [grad_input, beta, relu_mask] = grads.slot(0);
      if (term) {
        const Tensor features = term->features();
        const GramContribution added{features, term->matrix()};
        backward_data(grad_output, {beta, relu_mask}, grad_input, &added);
      } else {
        backward_data(grad_output, {beta, relu_mask}, grad_input, nullptr);
      }
    }
    if (grads.wants(1) || grads.wants(2)) parameters_backward(of_convolution(grad_output), grads);
  }

 protected:
  /// The gradient of the convolution's own output, from that of the node's.
  virtual Tensor of_convolution(const Tensor& grad_output) const { return grad_output; }
  virtual void backward_data(const Tensor& grad_output, const Accumulate& how, Tensor& grad_input,
                             const GramContribution* added) const {
    conv2d_backward_data(desc_, weight_.get(name()), grad_output, how, grad_input, added, input_route_.get());
  }

  Conv2dDesc desc_;
  std::shared_ptr<const PoolRoute> input_route_;  // nullptr: the input does not come from a pool
  Saved input_, weight_;

 private:
  void parameters_backward(const Tensor& grad_output, GradSink& grads) {
    if (grads.wants(1)) {
      const GradSink::Slot slot = grads.slot(1);
      conv2d_backward_weight(desc_, input_.get("conv2d"), grad_output, slot.beta, slot.grad);
    }
    if (grads.wants(2)) {
      const GradSink::Slot slot = grads.slot(2);
      conv2d_backward_bias(grad_output, slot.beta, slot.grad);
    }
  }
};

class Conv2dPool2dNode final : public Conv2dNode {
 public:
  Conv2dPool2dNode(const Conv2dDesc& desc, const Wants& wants, const Variable& input, const Tensor& weight,
                   PoolRoute route)
      : Conv2dNode(desc, wants, input, weight), route_(std::move(route)) {}
  const char* name() const override { return "conv2d_pool2d"; }

 protected:
  Tensor of_convolution(const Tensor& grad_output) const override {
    return unpool_gradient(desc_, route_, grad_output);
  }
  void backward_data(const Tensor& grad_output, const Accumulate& how, Tensor& grad_input,
                     const GramContribution* added) const override {
    conv2d_pool2d_backward_data(desc_, weight_.get(name()), route_, grad_output, how, grad_input, added,
                                input_route_.get());
  }

 private:
  PoolRoute route_;
};

}  // namespace

Variable conv2d(const Variable& input, const Variable& weight, const Variable& bias, const Window& window,
                Activation activation) {
  const Tensor& x = input.value();
  const Tensor& w = weight.value();
  const Conv2dDesc desc = Conv2dDesc::make(x.shape(), w.shape(), window);
  Tensor output = Tensor::empty(desc.output_shape(), Dtype::f32, x.device());
  BitMask mask = new_relu_mask(activation, {input, weight, bias}, output);
  conv2d_forward(desc, x, w, bias ? bias.value() : Tensor(), activation, output, mask ? &mask : nullptr);
  return record(
      std::move(output), {input, weight, bias},
      [&](const Wants& wants) { return std::make_unique<Conv2dNode>(desc, wants, input, w); }, std::move(mask));
}

Recompute recompute_conv2d(const Variable& input, const Variable& weight, const Variable& bias, const Window& window,
                           Activation activation) {
  const Conv2dDesc desc = Conv2dDesc::make(input.shape(), weight.shape(), window);
  return [desc, source = Saved(input), weight = Saved(weight.value()), bias = bias ? Saved(bias.value()) : Saved(),
          activation](int64_t begin, int64_t end) {
    const Conv2dRows part = conv2d_rows(desc, begin, end);
    const Tensor input_rows = source.rows("conv2d", part.in_begin, part.in_end);
    Tensor output = Tensor::empty(part.desc.output_shape(), Dtype::f32, input_rows.device());
    conv2d_forward(part.desc, input_rows, weight.get("conv2d"), bias ? bias.get("conv2d") : Tensor(), activation,
                   output);
    return output;
  };
}

Variable conv2d_pool2d(const Variable& input, const Variable& weight, const Variable& bias, const Window& window,
                       PoolKind kind) {
  const Tensor& x = input.value();
  const Tensor& w = weight.value();
  const Conv2dDesc desc = Conv2dDesc::make(x.shape(), w.shape(), window);
  Tensor output = Tensor::empty(pool_of(desc, kind).output_shape(), Dtype::f32, x.device());
  const bool recording = is_recording({input, weight, bias});
  PoolRoute route = recording ? PoolRoute::make(desc, kind, x.device()) : PoolRoute();
  conv2d_pool2d_forward(desc, kind, x, w, bias ? bias.value() : Tensor(), output, recording ? &route : nullptr);
  if (recording && x.device().kind == Device::Kind::cuda) leave_route(output, route);
  return record(std::move(output), {input, weight, bias}, [&](const Wants& wants) {
    return std::make_unique<Conv2dPool2dNode>(desc, wants, input, w, std::move(route));
  });
}

}  // namespace minidl::ops
