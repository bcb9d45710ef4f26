#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/half.h>
#include <minidl/layers/ops.h>
#include <minidl/layers/ops/relu_mask.h>

#include <vector>

namespace minidl::ops {
namespace {

/// Gradient of a function that is linear with one factor for each input: grad_input[i] gets factor[i] * grad_output.
class ScaledNode final : public Node {
 public:
  ScaledNode(const char* name, std::vector<float> factors, const Shape& input_shape)
      : name_(name), factors_(std::move(factors)), input_shape_(input_shape) {}
  const char* name() const override { return name_; }
  void backward(const Tensor& grad_output, GradSink& grads) override {
    const Tensor grad = grad_output.reshape(input_shape_);
    for (int i = 0; i < static_cast<int>(factors_.size()); ++i) {
      if (!grads.wants(i)) continue;
      const auto [grad_input, beta, relu_mask] = grads.slot(i);
      accumulate_scaled(factors_[static_cast<size_t>(i)], grad, {beta, relu_mask}, grad_input);
    }
  }

 private:
  const char* name_;
  std::vector<float> factors_;
  Shape input_shape_;
};

class TanhNode final : public Node {
 public:
  TanhNode(const Tensor& output, float scale) : output_(output), scale_(scale) {}
  const char* name() const override { return "tanh"; }
  void backward(const Tensor& grad_output, GradSink& grads) override {
    const auto [grad_input, beta, relu_mask] = grads.slot(0);
    tanh_backward(output_.get("tanh"), scale_, grad_output, {beta, relu_mask}, grad_input);
  }

 private:
  Saved output_;
  float scale_;
};

Tensor empty_like(const Variable& x) {
  return Tensor::empty(x.shape(), Dtype::f32, x.value().device());
}

/// a * x + b * y.
Variable combine(const char* name, float a, const Variable& x, float b, const Variable& y) {
  MINIDL_CHECK(x.shape() == y.shape(), "[{}] {} and {} must have the same shape", name, x.shape(), y.shape());
  Tensor output = output_over(y, {x, y});
  add_scaled(a, x.value(), b, y.value(), output);
  return record(std::move(output), {x, y}, [&](const Wants&) {
    return std::make_unique<ScaledNode>(name, std::vector{a, b}, x.shape());
  });
}

}  // namespace

Variable relu(const Variable& x) {
  Tensor output = empty_like(x);
  relu_forward(x.value(), output);
  BitMask mask = filled_relu_mask(Activation::relu, {x}, output);
  // What arrives here is masked already: the output is recorded as a ReLU's.
  return record(
      std::move(output), {x},
      [&](const Wants&) { return std::make_unique<ScaledNode>("relu", std::vector{1.0f}, x.shape()); },
      std::move(mask));
}

Variable tanh(const Variable& x, float scale) {
  Tensor output = empty_like(x);
  tanh_forward(x.value(), scale, output);
  return record(output, {x}, [&](const Wants&) { return std::make_unique<TanhNode>(output, scale); });
}

Variable add(const Variable& x, Variable y) {
  return combine("add", 1.0f, x, 1.0f, y);
}
Variable subtract(const Variable& x, Variable y) {
  return combine("subtract", 1.0f, x, -1.0f, y);
}

Variable scale(const Variable& x, float factor) {
  Tensor output = empty_like(x);
  affine(factor, x.value(), 0.0f, output);
  return record(std::move(output), {x},
                [&](const Wants&) { return std::make_unique<ScaledNode>("scale", std::vector{factor}, x.shape()); });
}

Variable affine_per_channel(const Variable& x, float factor, const Tensor& offset, bool before_convolution) {
  Tensor output = empty_like(x);
  add_per_channel(factor, x.value(), offset, output, before_convolution);
  // What is added to a constant has the gradient of the sum: one slot for both.
  if (factor == 1.0f && is_recording({x})) return Variable(std::move(output), x.slot());
  return record(std::move(output), {x}, [&](const Wants&) {
    return std::make_unique<ScaledNode>("affine_per_channel", std::vector{factor}, x.shape());
  });
}

Recompute recompute_affine_per_channel(const Variable& x, float factor, const Tensor& offset) {
  return [source = Saved(x), factor, offset](int64_t begin, int64_t end) {
    const Tensor rows = source.rows("affine_per_channel", begin, end);
    Tensor output = Tensor::empty(rows.shape(), Dtype::f32, rows.device());
    add_per_channel(factor, rows, offset, output);
    return output;
  };
}

Recompute keep_in_bf16(const Variable& x) {
  Tensor halves = Tensor::empty(x.shape(), Dtype::bf16, x.value().device());
  to_half(x.value(), halves);
  return [kept = Saved(std::move(halves))](int64_t begin, int64_t end) {
    const Tensor rows = kept.rows("keep_in_bf16", begin, end);
    Tensor output = Tensor::empty(rows.shape(), Dtype::f32, rows.device());
    from_half(rows, output);
    return output;
  };
}

Variable reshape(const Variable& x, Shape shape) {
  return record(x.value().reshape(shape), {x},
                [&](const Wants&) { return std::make_unique<ScaledNode>("reshape", std::vector{1.0f}, x.shape()); });
}

}  // namespace minidl::ops

namespace minidl {

Variable operator+(const Variable& x, const Variable& y) {
  return ops::add(x, y);
}
Variable operator-(const Variable& x, const Variable& y) {
  return ops::subtract(x, y);
}
Variable operator*(float factor, const Variable& x) {
  return ops::scale(x, factor);
}

}  // namespace minidl
