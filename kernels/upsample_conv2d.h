#pragma once
#include <minidl/kernels/accumulate.h>
#include <minidl/kernels/padding.h>

#include <string>

namespace minidl {

/// Nearest-neighbour upsampling by 2 and a 3x3 convolution of stride 1, padded by one pixel on every side, as one
/// operation:
///   output = conv2d(upsample_nearest(input, 2), weight) + bias
///   input [n, in_h, in_w, in_c], weight [out_c, 3, 3, in_c], bias [out_c] or undefined, output [n, 2 in_h, 2 in_w,
///   out_c]; all f32, every extent at least 1.
/// The upsampled map never exists. Each of the four outputs of a pixel is a 2x2 convolution of the input whose taps are
/// sums of those of the weight; on the CPU these four share their products, of which 9 for each pixel and pair of channels
/// remain of 36 (a CUDA device: 16). Equal to the two operations up to rounding, on small integers exactly. The CPU computes
/// in fp32 at every precision, a device with sums of up to four taps rounded to it.
struct UpsampleConv2dDesc {
  int64_t n = 1, in_h = 1, in_w = 1, in_c = 1;
  int64_t out_c = 1;
  Padding::Mode padding = Padding::Mode::reflect;  // of the upsampled map; reflect and replicate are the same there

  Shape input_shape() const { return {n, in_h, in_w, in_c}; }
  Shape weight_shape() const { return {out_c, 3, 3, in_c}; }
  Shape output_shape() const { return {n, 2 * in_h, 2 * in_w, out_c}; }
  /// Of the two operations by their definition: multiply-adds of one direction, times two.
  double flops() const { return 2.0 * 36.0 * static_cast<double>(n * in_h * in_w) * static_cast<double>(in_c * out_c); }

  /// From the shapes of input and weight; throws Error when they do not fit together.
  static UpsampleConv2dDesc make(const Shape& input, const Shape& weight, Padding::Mode padding);
};

/// Writes `output`, allocated by the caller. The input may also be bf16 or f16. All three throw Error for other shapes,
/// types and devices, on a CUDA device for n * (in_h + 2) * (in_w + 2) above (2^31 - 1) / 4.
void upsample_conv2d_forward(const UpsampleConv2dDesc& desc, const Tensor& input, const Tensor& weight,
                             const Tensor& bias, Tensor& output);
/// grad_input is the sum over the 2x2 block of each pixel of conv2d_backward_data's result.
void upsample_conv2d_backward_data(const UpsampleConv2dDesc& desc, const Tensor& weight, const Tensor& grad_output,
                                   const Accumulate& how, Tensor& grad_input);
/// grad_weight = beta * grad_weight + what conv2d_backward_weight gives for the upsampled map.
void upsample_conv2d_backward_weight(const UpsampleConv2dDesc& desc, const Tensor& input, const Tensor& grad_output,
                                     float beta, Tensor& grad_weight);

}  // namespace minidl
