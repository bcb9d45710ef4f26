#pragma once
#include <minidl/kernels/conv2d_pool2d.h>
#include <minidl/kernels/cuda/window_products.h>

/// Results that are left as an operand, too, with the tensor that holds them, so that the product which reads them next
/// does not have to make it: one launch less, and for operands of 16 bits four bytes less to read. A product with such
/// operands leaves its own results, differences of Gram matrices are left for those that multiply by them, and a
/// picture, whose channels fill no operand, where its mean is taken off.
namespace minidl::cuda {

/// Those of a pass that exists as long as this.
class RoundedResults {
 public:
  /// `written`, whose last dimension are the channels, or nullptr, which leaves nothing. `wanted`: whether they mostly
  /// go into such a product, as results of a ReLU or of a sum with a residual do, and gradients of them and of what a
  /// norm reads; others go into norms, and nothing is left of them, as of channels that are not a multiple of 8.
  RoundedResults(const WindowProducts& products, const Tensor* written, bool wanted);
  /// Where they go; nullptr: nowhere.
  uint16_t* data();
  /// Now they are written.
  void keep() const;

 private:
  const Tensor* written_;
  Tensor operand_;
};
/// Most that is allocated for them.
int64_t rounded_bytes(const WindowProducts& products, int64_t pixels, int64_t channels);

/// Leaves `operand` [pixels, channels of an operand] of the values that `written` has now.
void leave_operand(const Tensor& written, const Tensor& operand);
/// What was left of `tensor`, [pixels, channels], in the pass of a Recording that is being done; it is taken away from
/// the tensor unless it is shared (Tensor::share_derived). Undefined: nothing.
Tensor operand_left(const WindowProducts& products, const Tensor& tensor, int64_t pixels, int64_t channels);
/// That, or the operand made of the values; `tensor` is nullptr where it is not known.
Operand operand_of(const WindowProducts& products, const Tensor* tensor, const float* values, int64_t pixels,
                   int64_t channels);
/// The same of a tensor that holds f32 or, as an operand itself or not, 16 bits.
Operand operand_of(const WindowProducts& products, const Tensor& tensor, int64_t pixels, int64_t channels);

/// A gradient of what a pool gave, spread over the pixels that were pooled as it is written, for the convolution below
/// the pool (conv2d_pool2d.h). Of channels that are a multiple of 8.
class UnpooledResults {
 public:
  /// `written` is that gradient and `route` the pool's; nothing is left where one of them is nullptr.
  UnpooledResults(const WindowProducts& products, const Tensor* written, const PoolRoute* route);
  Unpooled where();
  void keep() const;

 private:
  const Tensor* written_;
  const PoolRoute* route_;
  Tensor operand_;
};
/// What was left of the gradient of a pool's output, as an operand of the convolution's output [n, h, w, channels];
/// undefined: nothing.
Tensor unpooled_left(const WindowProducts& products, const Tensor* grad_output, const Shape& shape);

}  // namespace minidl::cuda
