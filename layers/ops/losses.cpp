#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/reduce.h>
#include <minidl/kernels/total_variation.h>
#include <minidl/layers/ops.h>

#include <cmath>

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

/// Of a term whose gradient was computed with its value, for a loss into which the term goes multiplied by `weight`.
class ReadyGradientNode final : public Node {
 public:
  ReadyGradientNode(const char* name, Tensor gradient, float weight)
      : name_(name), gradient_(std::move(gradient)), weight_(weight) {}
  const char* name() const override { return name_; }
  void backward(const Tensor& grad_output, GradSink& grads) override {
    const float factor = grad_output.item() / weight_;
    if (factor == 1.0f && grads.give(0, gradient_)) return;
    const auto [grad_input, beta, relu_mask] = grads.slot(0);
    accumulate_scaled(factor, gradient_, {beta, relu_mask}, grad_input);
  }

 private:
  const char* name_;
  Tensor gradient_;
  float weight_;
};

/// Whether the gradient of a term is computed with its value: on a device it costs a launch of its own later.
bool has_ready_gradient(const Variable& x, float weight) {
  return weight != 0.0f && std::isfinite(weight) && is_recording({x}) &&
         x.value().device().kind == Device::Kind::cuda;
}

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

Variable content_loss(const Variable& features, const Tensor& target, const Factor& factor, float weight) {
  MINIDL_CHECK(features.shape() == target.shape(), "[content_loss] features {} and target {} must have the same shape",
               features.shape(), target.shape());
  if (has_ready_gradient(features, weight)) {
    const BitMask& mask = features.slot()->relu_mask;
    Factor slope = factor;
    slope.value *= weight;
    Tensor gradient = Tensor::empty(features.shape(), Dtype::f32, target.device());
    Tensor loss = squared_distance_and_gradient(features.value(), target, 0.5, factor, slope, mask ? &mask : nullptr,
                                                gradient);
    return record(std::move(loss), {features}, [&](const Wants&) {
      return std::make_unique<ReadyGradientNode>("content_loss", std::move(gradient), weight);
    });
  }
  return record(squared_distance_scalar(features.value(), target, 0.5, factor), {features},
                [&](const Wants&) { return std::make_unique<ContentLossNode>(features, target, factor); });
}

Variable total_variation(const Variable& x, float factor, TotalVariationKind kind, float weight) {
  const Tensor& value = x.value();
  const bool masked = x.requires_grad() && x.slot()->relu_mask;
  if (has_ready_gradient(x, weight) && !masked) {
    Tensor gradient = Tensor::empty(x.shape(), Dtype::f32, value.device());
    Tensor loss = total_variation_and_gradient(value, kind == TotalVariationKind::interior, factor, factor * weight,
                                               gradient);
    return record(std::move(loss), {x}, [&](const Wants&) {
      return std::make_unique<ReadyGradientNode>("total_variation", std::move(gradient), weight);
    });
  }
  const auto variation = kind == TotalVariationKind::full ? total_variation_scalar : total_variation_interior_scalar;
  return record(variation(value, factor), {x},
                [&](const Wants&) { return std::make_unique<TotalVariationNode>(value, factor, kind); });
}

}  // namespace minidl::ops
