#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/gram.h>
#include <minidl/kernels/reduce.h>
#include <minidl/layers/ops.h>

namespace minidl::ops {
namespace {

class StyleLossNode final : public Node {
 public:
  /// difference [n,c,c] = Gram / M - target; the gradient of features is factor * features x difference.
  StyleLossNode(const Variable& features, Tensor difference, float factor)
      : features_(features), difference_(std::move(difference)), factor_(factor) {}
  const char* name() const override { return "style_loss"; }
  void backward(const Tensor& grad_output, GradSink& grads) override {
    affine(factor_ * grad_output.item(), difference_, 0.0f, difference_);
    grads.defer(0, std::make_unique<GramTerm>(std::move(features_), std::move(difference_)));
  }

 private:
  Saved features_;
  Tensor difference_;
  float factor_;
};

}  // namespace

void GramTerm::add_to(Tensor& grad, float beta, const BitMask* relu_mask) {
  features_.for_parts("gram", [&](const Tensor& part, int64_t begin, int64_t end) {
    Tensor rows = rows_of(grad, begin, end);
    const BitMask mask = relu_mask ? rows_of(*relu_mask, begin, end) : BitMask();
    // The kernel adds the matrix and its transpose, which for a symmetric one is twice the matrix.
    gram_backward(part, coefficient_, 0.5f, {beta, mask ? &mask : nullptr}, rows);
  });
}

Tensor gram_per_position(const Tensor& features) {
  const Shape& shape = features.shape();
  MINIDL_CHECK(shape.rank() == 4 && shape.count() > 0, "[gram] features {} must be [n,h,w,c] and not empty", shape);
  Tensor gram = Tensor::empty({shape[0], shape[3], shape[3]}, Dtype::f32, features.device());
  gram_forward(features, 1.0f / static_cast<float>(shape[1] * shape[2]), gram);
  return gram;
}

Variable style_loss(const Variable& features, const Tensor& target, float factor) {
  const Shape& shape = features.shape();
  Tensor difference = gram_per_position(features.value());
  const int64_t n = shape[0], positions = shape[1] * shape[2], c = shape[3];
  MINIDL_CHECK(target.shape() == Shape({1, c, c}) || target.shape() == Shape({n, c, c}),
               "[style_loss] target {} does not fit features {}: it must be [1,{},{}] or [{},{},{}]", target.shape(),
               shape, c, c, n, c, c);
  for (int64_t i = 0; i < n; ++i) {
    Tensor own = difference.slice(i, i + 1);
    const int64_t row = target.shape()[0] == 1 ? 0 : i;
    add_scaled(1.0f, own, -1.0f, target.slice(row, row + 1), own);
  }
  const double scale = factor / static_cast<double>(c * c * n);
  Tensor loss = squared_norm_scalar(difference, scale / 4.0);
  return record(std::move(loss), {features}, [&](const Wants&) {
    return std::make_unique<StyleLossNode>(features, std::move(difference),
                                           static_cast<float>(scale / static_cast<double>(positions)));
  });
}

}  // namespace minidl::ops
