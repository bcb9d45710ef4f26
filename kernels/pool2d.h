#pragma once
#include <minidl/kernels/accumulate.h>
#include <minidl/kernels/conv2d.h>

namespace minidl {

enum class PoolKind { max, average };

/// Pooling over windows, NHWC, per channel. Only windows whose first pixel lies inside the padded input count (sizes are floored):
///   max:     output[n,h,w,c] = max over r,s of input[n, h*stride_h + r - top, w*stride_w + s - left, c], pixels of the padding do not take part
///   average: the sum of the pixels inside the input / (k_h * k_w)   (as MatConvNet and PyTorch count_include_pad do)
/// input [n, in_h, in_w, c], output [n, out_h, out_w, c], f32; padding mode zero only, each pad smaller than the window.
struct Pool2dDesc {
  PoolKind kind = PoolKind::max;
  int64_t n = 1, in_h = 1, in_w = 1, c = 1;
  int64_t k_h = 2, k_w = 2;
  Window window{2, 2, {}};

  int64_t out_h() const { return (in_h + window.padding.top + window.padding.bottom - k_h) / window.stride_h + 1; }
  int64_t out_w() const { return (in_w + window.padding.left + window.padding.right - k_w) / window.stride_w + 1; }
  Shape input_shape() const { return {n, in_h, in_w, c}; }
  Shape output_shape() const { return {n, out_h(), out_w(), c}; }
  std::string str() const;

  /// From the input's shape; throws Error for windows and paddings that cannot be.
  static Pool2dDesc make(PoolKind kind, const Shape& input, int64_t k_h, int64_t k_w, const Window& window);
};

/// `choice` [n, out_h, out_w, c] u8, for max pooling: r * k_w + s of the first largest pixel (k_h * k_w <= 256); may be undefined when no gradient is wanted.
/// A NaN in the window wins, so that it cannot disappear.
/// Both throw Error for tensors of other shapes, types and devices.
void pool2d_forward(const Pool2dDesc& desc, const Tensor& input, Tensor& output, Tensor& choice);

/// max: grad_output goes to the chosen pixel; average: spread evenly. `choice` is undefined for average pooling.
void pool2d_backward(const Pool2dDesc& desc, const Tensor& choice, const Tensor& grad_output, const Accumulate& how, Tensor& grad_input);

}  // namespace minidl
