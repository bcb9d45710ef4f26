#pragma once
#include <minidl/kernels/accumulate.h>
#include <minidl/kernels/adam_update.h>
#include <minidl/kernels/checks.h>
#include <minidl/kernels/padding.h>
#include <minidl/kernels/pool2d.h>

#include <cstdint>
#include <span>

/// CPU implementations behind kernels/<op>.h, on raw pointers: arguments were checked by the caller. Shapes, layouts
/// and formulas are those of the public header of the same name.
namespace minidl::cpu {

/// Elements per chunk of an elementwise pass: the arrays of one chunk stay in the L2 cache.
inline constexpr int64_t kGrain = 16384;

/// Where a gradient goes: grad = beta * grad + (relu_mask ? r : 0); without a mask everything is added, with beta 0
/// grad is not read.
struct GradTarget {
  float* grad;
  float beta;
  BitSpan relu_mask = {};
  /// The same for the elements from `offset` on.
  GradTarget from(int64_t offset) const { return {grad + offset, beta, relu_mask.from(offset)}; }
};
inline GradTarget grad_target(const Accumulate& how, Tensor& grad) {
  return {grad.data<float>(), how.beta, mask_span(how)};
}

void add_scaled(int64_t count, float a, const float* x, float b, const float* y, float* output);
void add_combination(int64_t count, std::span<const double> a, std::span<const float* const> x, float* output);
void multiply(int64_t count, const float* x, const float* y, float* output);
void affine(int64_t count, float a, const float* x, float b, float* output);
void relu_forward(int64_t count, const float* input, float* output);
void positive_mask(int64_t count, const float* x, uint8_t* bits);
void tanh_forward(int64_t count, const float* input, float scale, float* output);
void tanh_backward(int64_t count, const float* output, float scale, const float* grad_output, const GradTarget& target);
void accumulate_scaled(int64_t count, float a, const float* x, const GradTarget& target);
void accumulate_difference(int64_t count, float a, const float* x, const float* y, const GradTarget& target);
void accumulate_product(int64_t count, const float* x, const float* y, const GradTarget& target);
/// `channels` at least 1.
void add_per_channel(int64_t positions, int64_t channels, float a, const float* x, const float* b, float* output);
void clamp(int64_t count, float* x, float low, float high);
void to_half(int64_t count, const float* x, uint16_t* halves);
void from_half(int64_t count, const uint16_t* halves, float* x);
void to_bf16(int64_t count, const float* x, uint16_t* halves);
void from_bf16(int64_t count, const uint16_t* halves, float* x);

double sum(int64_t count, const float* x);
double dot(int64_t count, const float* x, const float* y);
void dots(int64_t count, std::span<const float* const> x, std::span<const float* const> y, std::span<double> output);
double squared_norm(int64_t count, const float* x);
double absolute_sum(int64_t count, const float* x);
float max_abs(int64_t count, const float* x);
double squared_distance(int64_t count, const float* x, const float* y);
/// `channels` at least 1.
void sum_per_channel(int64_t positions, int64_t channels, const float* x, float beta, float* output);

void pool2d_forward(const Pool2dDesc& desc, const float* input, float* output, uint8_t* choice);
struct PoolGradient {
  const Pool2dDesc& desc;
  const uint8_t* choice;  // nullptr for average pooling
  const float* grad_output;
  GradTarget target;
};
void pool2d_backward(const PoolGradient& pool);

void box_mean(const Shape& shape, int64_t width, const float* input, float* output);

struct GramShape {
  int64_t n, positions, c;  // positions = h * w
  float scale;
};
void gram_forward(const GramShape& shape, const float* features, float* gram);
void gram_backward(const GramShape& shape, const float* features, const float* grad_gram, const GradTarget& target);

struct TotalVariationForm {
  int64_t n, h, w, c;
  bool interior;  // only the pairs that start in the (h-1) x (w-1) interior
};
/// Sum of squares over the pairs of the form.
double total_variation(const TotalVariationForm& form, const float* x);
/// The gradient is factor * sum over the pairs of a pixel of (x - its neighbour).
void total_variation_backward(const TotalVariationForm& form, const float* x, float factor, const GradTarget& target);

struct AdamState {
  float *first_moment, *second_moment, *parameter;
};
void adam_update(const AdamSettings& settings, int64_t step, int64_t count, const float* grad, const AdamState& state);
struct SgdFactors {
  float lr, momentum, weight_decay;
};
void sgd_update(const SgdFactors& factors, int64_t count, const float* grad, float* velocity, float* parameter);

/// `shape` is that of the picture without padding.
void pad_forward(const Shape& shape, const Padding& padding, const float* input, float* output);
void pad_backward(const Shape& shape, const Padding& padding, const float* grad_output, const GradTarget& target);

/// `shape` is that of the small picture.
void upsample_nearest_forward(const Shape& shape, int64_t factor, const float* input, float* output);
void upsample_nearest_backward(const Shape& shape, int64_t factor, const float* grad_output, const GradTarget& target);

void log_softmax_forward(int64_t rows, int64_t length, const float* input, float* output);
void log_softmax_backward(int64_t rows, int64_t length, const float* output, const float* grad_output,
                          const GradTarget& target);

}  // namespace minidl::cpu
