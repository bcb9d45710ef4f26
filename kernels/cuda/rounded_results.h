#pragma once
#include <minidl/kernels/cuda/window_products.h>

/// Results that a product with operands of 16 bits leaves in that form, too, with the tensor that it writes, so that
/// the product which reads them next does not have to round them: one launch less, and four bytes less to read. So do
/// differences of Gram matrices, which such products multiply by.
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

/// The values of `tensor` (nullptr: of one that is not known), [pixels, channels], as an operand: what was left of
/// them, taken away from the tensor unless it is shared (Tensor::share_derived), or made. Taken only in the pass of a
/// Recording in which it was left.
Operand operand_of(const WindowProducts& products, const Tensor* tensor, const float* values, int64_t pixels,
                   int64_t channels);
/// The same of a tensor that holds f32 or, as an operand itself or not, 16 bits.
Operand operand_of(const WindowProducts& products, const Tensor& tensor, int64_t pixels, int64_t channels);

}  // namespace minidl::cuda
