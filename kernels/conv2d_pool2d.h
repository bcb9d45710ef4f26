#pragma once
#include <minidl/kernels/conv2d.h>
#include <minidl/kernels/pool2d.h>

namespace minidl {

/// A convolution, a ReLU and a pool of 2x2 windows side by side, as one operation:
///   output = pool2d(max(0, conv2d(input, weight) + bias)), [n, floor(out_h / 2), floor(out_w / 2), out_c]
/// Its values are those of the three operations one after the other. An engine that can pools as it writes, so that the
/// convolution's output, four times as large, never exists; its gradient exists in the form that the engine reads alone,
/// and the convolution above may have left it so. Shapes and errors as in conv2d.h.

/// How the gradient of `output` finds its way back.
struct PoolRoute {
  PoolKind kind = PoolKind::max;
  Tensor choice;     // max: u8 like the output; which pixel of its window (2 * row + column), 4 when none is positive
  BitMask positive;  // average: of the convolution's output, as far as windows reach
  Shape shape;       // of the convolution's output

  /// Of the right shapes, contents undefined.
  static PoolRoute make(const Conv2dDesc& desc, PoolKind kind, Device device);
};

/// The pool of such a convolution's output; throws Error when its window is larger than that.
Pool2dDesc pool_of(const Conv2dDesc& desc, PoolKind kind);

/// Writes `output` (allocated by the caller) and, unless it is nullptr, `route`.
void conv2d_pool2d_forward(const Conv2dDesc& desc, PoolKind kind, const Tensor& input, const Tensor& weight, const Tensor& bias,
                           Tensor& output, PoolRoute* route);

/// conv2d_backward_data of the gradient before the pool.
void conv2d_pool2d_backward_data(const Conv2dDesc& desc, const Tensor& weight, const PoolRoute& route, const Tensor& grad_output,
                                 const Accumulate& how, Tensor& grad_input, const GramContribution* added = nullptr,
                                 const PoolRoute* input_route = nullptr);

/// Leaves the way back with the output, for the convolution that reads it next: on a CUDA device this one may write its
/// gradient in the form that conv2d_pool2d_backward_data() reads. route_of(): what was left, or
/// nullptr, as of a tensor of another shape.
void leave_route(const Tensor& output, const PoolRoute& route);
std::shared_ptr<const PoolRoute> route_of(const Tensor& output);

/// The gradient before the pool and the ReLU, [n, out_h, out_w, out_c], for what needs it whole.
Tensor unpool_gradient(const Conv2dDesc& desc, const PoolRoute& route, const Tensor& grad_output);

/// Whether the engine that a direction uses under the current settings pools as it goes.
bool pools_as_it_goes(const Conv2dProblem& problem, Device device);

}  // namespace minidl
