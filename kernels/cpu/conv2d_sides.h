#pragma once
#include <minidl/core/tensor.h>
#include <minidl/kernels/conv2d.h>
#include <minidl/kernels/cpu/kernels.h>
#include <minidl/kernels/pad.h>

namespace minidl::cpu {

// What DirectConv and WinogradConv share: a direction of a convolution with stride 1 becomes one convolution of a
// picture to an output.

template <class Conv>
Conv forward_sides(const Conv2dDesc& d) {
  Conv conv;
  conv.n = d.n, conv.in_h = d.in_h, conv.in_w = d.in_w, conv.in_c = d.in_c;
  conv.top = d.window.padding.top, conv.left = d.window.padding.left, conv.mode = d.window.padding.mode;
  conv.out_h = d.out_h(), conv.out_w = d.out_w(), conv.out_c = d.out_c;
  return conv;
}

/// Pixels of zero padding do not exist; the gradient of those of a reflecting or replicating one is computed, too, and
/// then added to that of the pixels which they show.
inline bool is_folded(const Padding& padding) {
  return padding.mode != Padding::Mode::zero && padding.any();
}

/// Of grad_output, with the filters turned by 180° and the channels exchanged.
template <class Conv>
Conv backward_sides(const Conv2dDesc& d) {
  const Padding& padding = d.window.padding;
  const bool folded = is_folded(padding);
  const Shape target = folded ? padded_shape(d.input_shape(), padding) : d.input_shape();
  Conv conv;
  conv.n = d.n, conv.in_h = d.out_h(), conv.in_w = d.out_w(), conv.in_c = d.out_c;
  conv.top = d.k_h - 1 - (folded ? 0 : padding.top), conv.left = d.k_w - 1 - (folded ? 0 : padding.left);
  conv.out_h = target[1], conv.out_w = target[2], conv.out_c = d.in_c;
  return conv;
}

/// Floats that run_backward allocates beside what `run` does.
inline int64_t folded_count(const Conv2dDesc& d) {
  return is_folded(d.window.padding) ? padded_shape(d.input_shape(), d.window.padding).count() : 0;
}

/// Runs a convolution of backward_sides into the gradient, through a padded one when it is to be folded.
template <class Conv, class Run>
void run_backward(const Conv2dDesc& d, const Conv2dBackwardDataArgs& args, Conv conv, const Run& run) {
  if (!is_folded(d.window.padding)) {
    conv.output = args.grad_input;
    conv.beta = args.beta;
    conv.relu_mask = args.relu_mask;
    run(conv);
    return;
  }
  Tensor grad_padded = Tensor::empty({conv.n, conv.out_h, conv.out_w, conv.out_c});
  conv.output = grad_padded.data<float>();
  run(conv);
  pad_backward(d.input_shape(), d.window.padding, conv.output, {args.grad_input, args.beta, args.relu_mask});
}

}  // namespace minidl::cpu
