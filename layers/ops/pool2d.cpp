#include <minidl/layers/ops.h>

namespace minidl::ops {
namespace {

class Pool2dNode final : public Node {
 public:
  Pool2dNode(const Pool2dDesc& desc, Tensor choice) : desc_(desc), choice_(std::move(choice)) {}
  const char* name() const override { return "pool2d"; }
  void backward(const Tensor& grad_output, GradSink& grads) override {
    const auto [grad_input, beta, relu_mask] = grads.slot(0);
    pool2d_backward(desc_, choice_, grad_output, {beta, relu_mask}, grad_input);
  }

 private:
  Pool2dDesc desc_;
  Tensor choice_;  // undefined for average pooling
};

}  // namespace

Variable pool2d(const Variable& input, PoolKind kind, int64_t k_h, int64_t k_w, const Window& window) {
  const Tensor& x = input.value();
  const Pool2dDesc desc = Pool2dDesc::make(kind, x.shape(), k_h, k_w, window);
  Tensor output = Tensor::empty(desc.output_shape(), Dtype::f32, x.device());
  Tensor choice;
  if (kind == PoolKind::max && Tape::current() && input.requires_grad()) {
    choice = Tensor::empty(desc.output_shape(), Dtype::u8, x.device());
  }
  pool2d_forward(desc, x, output, choice);
  return record(std::move(output), {input},
                [&](const Wants&) { return std::make_unique<Pool2dNode>(desc, std::move(choice)); });
}

}  // namespace minidl::ops
