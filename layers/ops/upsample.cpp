#include <minidl/kernels/upsample.h>
#include <minidl/layers/ops.h>

namespace minidl::ops {
namespace {

class UpsampleNearestNode final : public Node {
 public:
  explicit UpsampleNearestNode(int64_t factor) : factor_(factor) {}
  const char* name() const override { return "upsample_nearest"; }
  void backward(const Tensor& grad_output, GradSink& grads) override {
    const auto [grad_input, beta, relu_mask] = grads.slot(0);
    upsample_nearest_backward(grad_output, factor_, {beta, relu_mask}, grad_input);
  }

 private:
  int64_t factor_;
};

}  // namespace

Variable upsample_nearest(const Variable& x, int64_t factor) {
  const Shape& shape = x.shape();
  MINIDL_CHECK(shape.rank() == 4 && factor >= 1,
               "[upsample_nearest] input {} with factor {}: it needs 4 dimensions and a factor of at least 1", shape,
               factor);
  Tensor output =
      Tensor::empty({shape[0], shape[1] * factor, shape[2] * factor, shape[3]}, Dtype::f32, x.value().device());
  upsample_nearest_forward(x.value(), factor, output);
  return record(std::move(output), {x}, [&](const Wants&) { return std::make_unique<UpsampleNearestNode>(factor); });
}

}  // namespace minidl::ops
