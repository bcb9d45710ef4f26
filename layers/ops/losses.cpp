#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/reduce.h>
#include <minidl/kernels/total_variation.h>
#include <minidl/layers/ops.h>

namespace minidl::ops {
namespace {

class SumNode final : public Node {
 public:
  SumNode(float factor, const Shape& shape) : factor_(factor), shape_(shape) {}
  const char* name() const override { return "sum"; }
  void backward(const Tensor& grad_output, GradSink& grads) override {
    const auto [grad_input, beta, relu_mask] = grads.slot(0);
    const Tensor ones = Tensor::full(shape_, 1.0f, grad_input.device());
    accumulate_scaled(factor_ * grad_output.item(), ones, {beta, relu_mask}, grad_input);
  }

 private:
  float factor_;
  Shape shape_;
};

class ContentLossNode final : public Node {
 public:
  ContentLossNode(const Variable& features, const Tensor& target, Factor factor)
      : features_(features), target_(target), factor_(std::move(factor)) {}
  const char* name() const override { return "content_loss"; }
  void backward(const Tensor& grad_output, GradSink& grads) override {
    const GradSink::Slot slot = grads.slot(0);
    Factor factor = factor_;
    factor.value *= grad_output.item();
    features_.for_parts("content_loss", [&](const Tensor& part, int64_t begin, int64_t end) {
      Tensor grad_input = rows_of(slot.grad, begin, end);
      const BitMask relu_mask = slot.relu_mask ? rows_of(*slot.relu_mask, begin, end) : BitMask();
      accumulate_difference(factor, part, target_.rows("content_loss", begin, end),
                            {slot.beta, relu_mask ? &relu_mask : nullptr}, grad_input);
    });
  }

 private:
  Saved features_, target_;
  Factor factor_;
};

class TotalVariationNode final : public Node {
 public:
  TotalVariationNode(const Tensor& x, float factor, TotalVariationKind kind) : x_(x), factor_(factor), kind_(kind) {}
  const char* name() const override { return "total_variation"; }
  void backward(const Tensor& grad_output, GradSink& grads) override {
    const auto [grad_input, beta, relu_mask] = grads.slot(0);
    const auto kernel =
        kind_ == TotalVariationKind::full ? total_variation_backward : total_variation_interior_backward;
    kernel(x_.get("total_variation"), factor_ * grad_output.item(), {beta, relu_mask}, grad_input);
  }

 private:
  Saved x_;
  float factor_;
  TotalVariationKind kind_;
};

/// factor * sum of x.
Variable scaled_sum(const Variable& x, double factor) {
  return record(sum_scalar(x.value(), factor), {x},
                [&](const Wants&) { return std::make_unique<SumNode>(static_cast<float>(factor), x.shape()); });
}

}  // namespace

Variable sum(const Variable& x) {
  return scaled_sum(x, 1.0);
}

Variable mean(const Variable& x) {
  MINIDL_CHECK(x.shape().count() > 0, "[mean] {} has no elements", x.shape());
  return scaled_sum(x, 1.0 / static_cast<double>(x.shape().count()));
}

Variable content_loss(const Variable& features, const Tensor& target, const Factor& factor) {
  MINIDL_CHECK(features.shape() == target.shape(), "[content_loss] features {} and target {} must have the same shape",
               features.shape(), target.shape());
  return record(squared_distance_scalar(features.value(), target, 0.5, factor), {features},
                [&](const Wants&) { return std::make_unique<ContentLossNode>(features, target, factor); });
}

Variable total_variation(const Variable& x, float factor, TotalVariationKind kind) {
  const Tensor& value = x.value();
  const auto variation = kind == TotalVariationKind::full ? total_variation_scalar : total_variation_interior_scalar;
  return record(variation(value, factor), {x},
                [&](const Wants&) { return std::make_unique<TotalVariationNode>(value, factor, kind); });
}

}  // namespace minidl::ops
