#pragma once
#include <minidl/core/rng.h>
#include <minidl/core/tape.h>
#include <minidl/kernels/activation.h>
#include <minidl/kernels/conv2d.h>
#include <minidl/kernels/number.h>
#include <minidl/kernels/pool2d.h>

#include <span>
#include <vector>

/// Differentiable functions: each runs one forward kernel and records one node on the current tape, if there is one. Shapes, formulas and
/// errors are those of the kernel of the same name in <minidl/kernels/...>; all values f32, feature maps NHWC. An argument that is taken by
/// value and that nobody else holds (give it up with std::move) is overwritten by the result when no node is recorded.
namespace minidl::ops {

/// act(conv(input, weight) + bias); `bias` may be undefined. See kernels/conv2d.h.
Variable conv2d(const Variable& input, const Variable& weight, const Variable& bias, const Window& window,
                Activation activation = Activation::none);
/// How the output of conv2d is computed anew from its input, which is kept unless that is computed anew, too. One picture,
/// padding of zeros.
Recompute recompute_conv2d(const Variable& input, const Variable& weight, const Variable& bias, const Window& window,
                           Activation activation = Activation::none);
/// pool2d(relu(conv(input, weight) + bias)) with 2x2 windows side by side, without the values in between when the engine
/// can. See kernels/conv2d_pool2d.h.
Variable conv2d_pool2d(const Variable& input, const Variable& weight, const Variable& bias, const Window& window, PoolKind kind);
/// Transposed convolution, a "convolution of stride 1/stride": what conv2d_backward_data makes of `input`, plus bias.
///   input [n,h,w,c], weight [c,k_h,k_w,out_c], bias [out_c] or undefined -> [n,out_h,out_w,out_c]
/// A convolution of the output with that window must have the input's size: several outputs have the same, so it is
/// given.
Variable conv2d_transpose(const Variable& input, const Variable& weight, const Variable& bias, const Window& window,
                          int64_t out_h, int64_t out_w);
/// kernels/pool2d.h.
Variable pool2d(const Variable& input, PoolKind kind, int64_t k_h, int64_t k_w, const Window& window);
/// input [m,k], weight [n,k], bias [n] or undefined -> [m,n]. kernels/gemm.h.
Variable linear(const Variable& input, const Variable& weight, const Variable& bias);

/// max(0, x).
Variable relu(const Variable& x);
/// scale * tanh(x).
Variable tanh(const Variable& x, float scale = 1.0f);
/// x + y, x - y (equal shapes), factor * x.
Variable add(const Variable& x, Variable y);
Variable subtract(const Variable& x, Variable y);
Variable scale(const Variable& x, float factor);
/// factor * x + offset[c], offset a constant [c]: how a network's mean colour is taken off, before its first convolution. With factor 1 the result shares the gradient of x.
Variable affine_per_channel(const Variable& x, float factor, const Tensor& offset, bool before_convolution = false);
Recompute recompute_affine_per_channel(const Variable& x, float factor, const Tensor& offset);
/// How x is read back from a copy in bf16 that this makes: values rounded to 8 bits, in half the bytes.
Recompute keep_in_bf16(const Variable& x);
/// The same elements as another shape.
Variable reshape(const Variable& x, Shape shape);

/// kernels/pad.h, kernels/upsample.h.
Variable pad(const Variable& x, const Padding& padding);
Variable upsample_nearest(const Variable& x, int64_t factor);
/// conv2d(upsample_nearest(input, 2), weight, bias) with 3x3 filters, stride 1 and a padding of one pixel. See
/// kernels/upsample_conv2d.h.
Variable upsample_conv2d(const Variable& input, const Variable& weight, const Variable& bias, Padding::Mode padding);

/// kernels/instance_norm.h, kernels/batch_norm.h; `residual` may be undefined. With `for_convolution` the result is only
/// read by convolutions: where no tape is current it may hold the type that they read (conv2d_input_type()). The running
/// statistics are updated in place in training.
Variable instance_norm(Variable input, const Variable& weight, const Variable& bias, float eps = 1e-5f,
                       Activation activation = Activation::none, const Variable& residual = {}, bool for_convolution = false);
struct BatchNormState {
  Tensor running_mean;      // [c]
  Tensor running_variance;  // [c]
  float momentum = 0.1f;
  bool training = true;
};
Variable batch_norm(Variable input, const Variable& weight, const Variable& bias, BatchNormState& state, float eps = 1e-5f,
                    Activation activation = Activation::none);
/// Zeroes each value with probability `rate` in [0, 1) and divides the rest by 1 - rate. The mask comes from `rng`.
Variable dropout(const Variable& x, float rate, Rng& rng);
/// kernels/log_softmax.h.
Variable log_softmax(const Variable& x);

/// Weighted sums of rows: rows [s,c], constant shares [s] or [n,s] -> [c] or [n,c], output[n,c] = sum over s of
/// shares[n,s] * rows[s,c].
Variable mix_rows(const Variable& rows, const Tensor& shares);

/// Scalars, the sums and losses that follow, are on the CPU, whatever device x is on: they are read there, and neither
/// their arithmetic nor their gradients wait for a device.

/// Sum of all elements; mean likewise.
Variable sum(const Variable& x);
Variable mean(const Variable& x);

/// 1/2 * ||features - target||^2 summed over everything (Gatys et al. 2015, eq. 1), times `factor`. When it is known that the loss goes into
/// what is differentiated multiplied by `weight`, not 0, a CUDA device computes the gradient in the same pass; with any other factor it is right,
/// too.
Variable content_loss(const Variable& features, const Tensor& target, const Factor& factor = 1.0f, float weight = 0.0f);
/// Style loss of one layer (Gatys et al. 2015, eq. 4) for maps of any size, each Gram divided by its own number of positions M = h * w:
///   factor / (4 c^2) * ||F Fᵀ / M - target||^2, averaged over the batch. features [n,h,w,c]; target [1,c,c] or [n,c,c] is a Gram / M.
/// Its gradient is handed over as a deferred product of F with a c x c matrix, so no gradient-sized tensor exists until it is needed. It can be
/// fused into another pass when the loss goes into what is differentiated multiplied by `weight`, finite and not 0; with any other factor it is
/// right, too, and a pass of its own. Throws Error for a target or a weight that does not fit.
Variable style_loss(const Variable& features, const Tensor& target, float factor = 1.0f, float weight = 1.0f);
/// Those of several layers, on a CUDA device with fewer launches: their losses in the same order.
struct StyleTerm {
  Variable features;                   // [n,h,w,c]
  Tensor target;                       // [1,c,c] or [n,c,c]
  float factor = 1.0f, weight = 1.0f;  // as of style_loss
};
std::vector<Variable> style_losses(std::span<const StyleTerm> terms);
/// factor * sum of squared differences of neighbours. kernels/total_variation.h. `weight` as of content_loss.
enum class TotalVariationKind { full, interior };
Variable total_variation(const Variable& x, float factor = 1.0f, TotalVariationKind kind = TotalVariationKind::full,
                         float weight = 0.0f);

/// Gram matrices / M of feature maps: [n,h,w,c] -> [n,c,c], no gradient.
Tensor gram_per_position(const Tensor& features);

/// The term that style_loss leaves behind: contribution = factor * features x matrix, [n,h,w,c] x [n,c,c] (symmetric). The
/// backward pass of a convolution may take it over as more terms of its own sums.
class GramTerm final : public DeferredGrad {
 public:
  GramTerm(Saved features, Tensor matrix, float factor)
      : features_(std::move(features)), matrix_(std::move(matrix)), factor_(factor) {}
  void add_to(Tensor& grad, float beta, const BitMask* relu_mask) override;
  /// That of the input of a convolution, taken out of what is deferred, when its engine adds one as it goes.
  static std::unique_ptr<GramTerm> take(const Conv2dDesc& desc, GradSink& grads, Device device);
  const Tensor features() const { return features_.get("gram"); }
  const Tensor& matrix() const { return matrix_; }

 private:
  Saved features_;
  Tensor matrix_;
  float factor_;
};

}  // namespace minidl::ops

namespace minidl {

/// Scalars and tensors of equal shape.
Variable operator+(const Variable& x, const Variable& y);
Variable operator-(const Variable& x, const Variable& y);
Variable operator*(float factor, const Variable& x);

}  // namespace minidl
