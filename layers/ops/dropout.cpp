#include <minidl/core/parallel.h>
#include <minidl/kernels/elementwise.h>
#include <minidl/layers/ops.h>

namespace minidl::ops {
namespace {

class DropoutNode final : public Node {
 public:
  explicit DropoutNode(Tensor mask) : mask_(std::move(mask)) {}
  const char* name() const override { return "dropout"; }
  void backward(const Tensor& grad_output, GradSink& grads) override {
    const auto [grad_input, beta, relu_mask] = grads.slot(0);
    accumulate_product(grad_output, mask_, {beta, relu_mask}, grad_input);
  }

 private:
  Tensor mask_;
};

/// 0 with probability `rate`, else 1 / (1 - rate).
Tensor dropout_mask(const Shape& shape, float rate, Rng& rng) {
  constexpr int64_t kGrain = 1 << 14;
  Tensor mask = Tensor::empty(shape);
  rng.fill_uniform(mask, 0.0f, 1.0f);
  float* values = mask.data<float>();
  const float kept = 1.0f / (1.0f - rate);
  parallel_for(0, mask.count(), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) values[i] = values[i] < rate ? 0.0f : kept;
  });
  return mask;
}

}  // namespace

Variable dropout(const Variable& x, float rate, Rng& rng) {
  MINIDL_CHECK(rate >= 0.0f && rate < 1.0f, "[dropout] rate is {}, it must be in [0, 1)", rate);
  const Tensor mask = dropout_mask(x.shape(), rate, rng).to(x.value().device());
  Tensor output = Tensor::empty(x.shape(), Dtype::f32, x.value().device());
  multiply(x.value(), mask, output);
  return record(std::move(output), {x}, [&](const Wants&) { return std::make_unique<DropoutNode>(mask); });
}

}  // namespace minidl::ops
