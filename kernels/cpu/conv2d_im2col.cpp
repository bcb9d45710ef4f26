#include <minidl/core/tensor.h>
#include <minidl/kernels/cpu/backward_phase.h>
#include <minidl/kernels/cpu/conv2d_engines.h>
#include <minidl/kernels/cpu/kernels.h>
#include <minidl/kernels/cpu/packed_gemm.h>
#include <minidl/kernels/cpu/window_products.h>
#include <minidl/kernels/cpu/windows.h>
#include <minidl/kernels/pad.h>

#include <algorithm>
#include <utility>

namespace minidl::cpu {
namespace {

const char* decline(const Conv2dProblem&, Precision precision) {
  return serves(precision) ? nullptr : kFp32Only;
}

Windows input_windows(const Conv2dDesc& d, const float* input) {
  return {.picture = input,
          .in_h = d.in_h,
          .in_w = d.in_w,
          .c = d.in_c,
          .out_h = d.out_h(),
          .out_w = d.out_w(),
          .k_h = d.k_h,
          .k_w = d.k_w,
          .stride_h = d.window.stride_h,
          .stride_w = d.window.stride_w,
          .top = d.window.padding.top,
          .left = d.window.padding.left,
          .mode = d.window.padding.mode};
}

/// output[(n,h,w), k] = windows[(n,h,w), (r,s,c)] * weight[k, (r,s,c)]ᵀ.
void forward(const Conv2dDesc& d, const Conv2dForwardArgs& args) {
  const Windows windows = input_windows(d, args.input);
  const float* weight = args.weight.data<float>();
  PackedGemm product{.m = d.n * d.out_h() * d.out_w(), .n = d.out_c, .k = d.k_h * d.k_w * d.in_c};
  product.run = windows.run();
  product.read_rows = [&](const GemmRows& rows) { windows.read_rows(rows); };
  product.pack_columns = [&](int64_t k, int64_t depth, int64_t column, int64_t columns, float* output, int64_t stride) {
    transpose(weight + column * product.k + k, product.k, depth, columns, output, stride);
  };
  product.row_offset = [&](int64_t row) { return row * d.out_c; };
  product.epilogue = {.c = args.output, .bias = args.bias, .relu = args.activation == Activation::relu};
  packed_gemm(product);
}

WindowProducts window_products_of(const Conv2dDesc& d, const Conv2dBackwardWeightArgs& args) {
  return {input_windows(d, args.input),
          d.n * d.out_h() * d.out_w(),
          args.grad_output,
          d.out_c,
          args.beta,
          args.grad_weight};
}

void backward_weight(const Conv2dDesc& d, const Conv2dBackwardWeightArgs& args) {
  window_products(window_products_of(d, args));
}

/// Pixels [n, h, w] whose gradient is computed, `top` and `left` pixels of padding in front of them not counted.
struct Target {
  int64_t h, w, top, left;
  GemmEpilogue epilogue;
};

void backward_phase(const Conv2dDesc& d, const Conv2dBackwardDataArgs& args, const Target& target,
                    const BackwardPhase& rows, const BackwardPhase& columns) {
  const Windows windows{.picture = args.grad_output,
                        .in_h = d.out_h(),
                        .in_w = d.out_w(),
                        .c = d.out_c,
                        .out_h = rows.count,
                        .out_w = columns.count,
                        .k_h = rows.taps,
                        .k_w = columns.taps,
                        .top = rows.pad(),
                        .left = columns.pad()};
  const float* weight = args.weight.data<float>();
  PackedGemm product{.m = d.n * rows.count * columns.count, .n = d.in_c, .k = rows.taps * columns.taps * d.out_c};
  product.run = windows.run();
  product.read_rows = [&](const GemmRows& to) {
    if (to.depth() > 0) windows.read_rows(to);
  };
  product.pack_columns = [&](int64_t k, int64_t depth, int64_t column, int64_t count, float* output, int64_t stride) {
    for (int64_t i = 0; i < depth; ++i) {
      const int64_t filter = (k + i) % d.out_c, tap = (k + i) / d.out_c;
      const int64_t r = rows.tap(tap / columns.taps), s = columns.tap(tap % columns.taps);
      std::copy_n(weight + ((filter * d.k_h + r) * d.k_w + s) * d.in_c + column, count, output + i * stride);
    }
  };
  product.row_offset = [&](int64_t row) {
    const int64_t j = row % columns.count, i = row / columns.count % rows.count, n = row / columns.count / rows.count;
    return ((n * target.h + rows.position(i)) * target.w + columns.position(j)) * d.in_c;
  };
  product.epilogue = target.epilogue;
  packed_gemm(product);
}

void backward_target(const Conv2dDesc& d, const Conv2dBackwardDataArgs& args, const Target& target) {
  for (int64_t r = 0; r < d.window.stride_h; ++r) {
    for (int64_t s = 0; s < d.window.stride_w; ++s) {
      const BackwardPhase rows(r, d.window.stride_h, d.k_h, target.top, target.h),
          columns(s, d.window.stride_w, d.k_w, target.left, target.w);
      if (rows.count > 0 && columns.count > 0) backward_phase(d, args, target, rows, columns);
    }
  }
}

/// Pixels of zero padding do not exist; those of a reflecting or replicating one are computed and added to the pixels
/// that they show.
void backward_data(const Conv2dDesc& d, const Conv2dBackwardDataArgs& args) {
  const Padding& padding = d.window.padding;
  if (padding.mode == Padding::Mode::zero || !padding.any()) {
    const GemmEpilogue epilogue{.c = args.grad_input, .relu_mask = args.relu_mask, .beta = args.beta};
    backward_target(d, args, {d.in_h, d.in_w, padding.top, padding.left, epilogue});
    return;
  }
  Conv2dDesc picture = d;
  picture.n = 1;
  const Shape shape = picture.input_shape();
  Tensor padded = Tensor::empty(padded_shape(shape, padding));
  const GradTarget target{args.grad_input, args.beta, args.relu_mask};
  for (int64_t n = 0; n < d.n; ++n) {
    Conv2dBackwardDataArgs part = args;
    part.grad_output = args.grad_output + n * picture.output_shape().count();
    backward_target(picture, part, {padded.shape()[1], padded.shape()[2], 0, 0, {.c = padded.data<float>()}});
    pad_backward(shape, padding, std::as_const(padded).data<float>(), target.from(n * shape.count()));
  }
}

int64_t workspace_bytes(const Conv2dProblem& problem) {
  const Conv2dDesc& d = problem.desc;
  const int64_t positions = d.n * d.out_h() * d.out_w(), taps = d.k_h * d.k_w;
  if (problem.direction == Conv2dDirection::forward) return packed_gemm_workspace(positions, d.out_c, taps * d.in_c);
  if (problem.direction == Conv2dDirection::backward_weight)
    return window_products_workspace(window_products_of(d, {}));
  const Padding& padding = d.window.padding;
  const bool folded = padding.mode != Padding::Mode::zero && padding.any();
  const Shape target = folded ? padded_shape({1, d.in_h, d.in_w, d.in_c}, padding) : d.input_shape();
  return (folded ? target.count() * static_cast<int64_t>(sizeof(float)) : 0) +
         packed_gemm_workspace(target.count() / d.in_c, d.in_c, taps * d.out_c);
}

}  // namespace

const Conv2dEngine conv2d_im2col{.name = "im2col",
                                 .device = Device::Kind::cpu,
                                 .error = 1e-6,
                                 .exact_integers = true,
                                 .decline = decline,
                                 .workspace_bytes = workspace_bytes,
                                 .kept_bytes = nullptr,
                                 .spared_bytes = nullptr,
                                 .writes_relu_mask = nullptr,
                                 .pools = nullptr,
                                 .forward = forward,
                                 .backward_data = backward_data,
                                 .backward_weight = backward_weight};

}  // namespace minidl::cpu
