#pragma once
#include <minidl/kernels/accumulate.h>
#include <minidl/kernels/activation.h>
#include <minidl/kernels/execution.h>
#include <minidl/kernels/padding.h>

#include <array>
#include <cstdint>
#include <span>
#include <string>

namespace minidl {

/// Strides and padding of a convolution or pooling window.
struct Window {
  int64_t stride_h = 1, stride_w = 1;  // >= 1
  Padding padding = {};
};

/// A 2-d cross-correlation ("convolution" in this field), NHWC:
///   output[n,h,w,k] = act(bias[k] + sum over r,s,c of input'[n, h*stride_h + r - top, w*stride_w + s - left, c] * weight[k,r,s,c])
/// where input' continues the input by the padding, act is identity or max(0, .).
///   input [n, in_h, in_w, in_c], weight [out_c, k_h, k_w, in_c], bias [out_c] or undefined, output [n, out_h, out_w, out_c]; all f32
///   out_h = floor((in_h + top + bottom - k_h) / stride_h) + 1, likewise out_w; both must be at least 1.
/// Any kernel size, stride, padding; every extent at least 1.
struct Conv2dDesc {
  int64_t n = 1, in_h = 1, in_w = 1, in_c = 1;
  int64_t out_c = 1, k_h = 1, k_w = 1;
  Window window;

  int64_t out_h() const { return (in_h + window.padding.top + window.padding.bottom - k_h) / window.stride_h + 1; }
  int64_t out_w() const { return (in_w + window.padding.left + window.padding.right - k_w) / window.stride_w + 1; }
  Shape input_shape() const { return {n, in_h, in_w, in_c}; }
  Shape weight_shape() const { return {out_c, k_h, k_w, in_c}; }
  Shape output_shape() const { return {n, out_h(), out_w(), out_c}; }
  /// Multiply-adds of one direction, times two.
  double flops() const { return 2.0 * static_cast<double>(n * out_h() * out_w() * out_c) * static_cast<double>(k_h * k_w * in_c); }
  std::string str() const;

  /// From the shapes of input and weight; throws Error when they do not fit together or the output would be empty.
  static Conv2dDesc make(const Shape& input, const Shape& weight, const Window& window);
};

/// A convolution that computes rows [begin, end) of another one's output from rows [in_begin, in_end) of its input. With
/// a bias these are the same bytes when `begin` is a multiple of four, the height of the engines' tiles; not with those
/// on tensor cores, where a map is so small that they cut its sums into parts.
struct Conv2dRows {
  Conv2dDesc desc;
  int64_t in_begin = 0, in_end = 0;
};
/// Whether there are such convolutions: the padding is of zeros and smaller than the kernel.
bool has_rows(const Conv2dDesc& desc);
/// Throws Error unless there are, and for rows outside of 0 <= begin < end <= out_h().
Conv2dRows conv2d_rows(const Conv2dDesc& desc, int64_t begin, int64_t end);

/// Writes `output` (allocated by the caller), and into `relu_mask`, unless it is nullptr, where it is positive. The input may
/// also be bf16 or f16. Throws Error when a shape, type or device is wrong.
void conv2d_forward(const Conv2dDesc& desc, const Tensor& input, const Tensor& weight, const Tensor& bias,
                    Activation activation, Tensor& output, BitMask* relu_mask = nullptr);

/// The type in which convolutions on `device` read an input of so many channels at the current precision: what nobody else
/// reads may be written in it.
Dtype conv2d_input_type(Device device, int64_t channels);

struct PoolRoute;

/// Another contribution to the gradient of a convolution's input: at each pixel matrix * features, as
/// gram_backward_symmetric() gives, in the arithmetic of the convolution; features [1, in_h, in_w, in_c], matrix [1, in_c, in_c], symmetric.
struct GramContribution {
  const Tensor &features, &matrix;
};
/// grad_input[n,i,j,c] = sum of grad_output[n,h,w,k] * weight[k,r,s,c] over all (h,w,r,s) whose window position reads pixel (i,j).
/// `grad_output` is the gradient before the activation (already masked when the forward pass had a ReLU). `added`, unless it is nullptr, is
/// added in the same pass; throws Error then unless adds_as_it_goes(). `input_route`, unless it is nullptr, is of the pool that gave the input
/// (conv2d_pool2d.h): the gradient may be left in the form in which it goes on from there.
void conv2d_backward_data(const Conv2dDesc& desc, const Tensor& weight, const Tensor& grad_output, const Accumulate& how, Tensor& grad_input,
                          const GramContribution* added = nullptr, const PoolRoute* input_route = nullptr);
/// Whether the engine that backward_data uses under the current settings adds a GramContribution.
bool adds_as_it_goes(const Conv2dDesc& desc, Device device);

/// grad_weight[k,r,s,c] = beta * grad_weight + sum over n,h,w of grad_output[n,h,w,k] * input'[n, h*stride_h + r - top, w*stride_w + s - left, c].
void conv2d_backward_weight(const Conv2dDesc& desc, const Tensor& input, const Tensor& grad_output, float beta, Tensor& grad_weight);

/// grad_bias[k] = beta * grad_bias + sum over n,h,w of grad_output[n,h,w,k].
void conv2d_backward_bias(const Tensor& grad_output, float beta, Tensor& grad_bias);

/// One call: what an engine sees after the checks. Unused pointers are nullptr, and so is that to an input that is not f32. The weight comes as a tensor, with which
/// an engine may keep a form of it that is quicker to use.
struct Conv2dForwardArgs {
  const float* input;
  const Tensor& weight;
  const float* bias;
  Activation activation;
  float* output;
  uint8_t* relu_mask;  // bits to be written; always nullptr for an engine that does not write masks
  /// Where the 2x2 windows of the output go instead, pooled, with what conv2d_pool2d.h calls choice; always nullptr for
  /// an engine that does not pool.
  float* pooled_output = nullptr;
  uint8_t* choice = nullptr;
  bool max_pooled = false;
  /// The tensor that is written, with which an engine may leave another form of its values (keep_derived), and that of the
  /// input, from which it may take one; nullptr: it must not.
  const Tensor *input_tensor = nullptr, *written_tensor = nullptr;
};
struct Conv2dBackwardDataArgs {
  const Tensor& weight;
  const float* grad_output;
  float beta;
  BitSpan relu_mask = {};
  float* grad_input;
  /// Unless both are empty, grad_output is that of 2x2 windows, whose gradient goes where one of these says.
  const uint8_t* choice = nullptr;
  BitSpan positive = {};
  /// [1, in_c, in_c] and the shape of grad_input, or both nullptr; always so for an engine that does not add.
  const Tensor *added_matrix = nullptr, *added_features = nullptr;
  /// Of grad_output and grad_input, as of the forward pass.
  const Tensor *grad_output_tensor = nullptr, *written_tensor = nullptr;
  /// Of the pool that gave the input, for an engine that leaves the gradient unpooled.
  const PoolRoute* input_route = nullptr;
};
struct Conv2dBackwardWeightArgs {
  const float* input;
  const float* grad_output;
  float beta;
  float* grad_weight;
  /// Of input and grad_output, as of the forward pass.
  const Tensor *input_tensor = nullptr, *grad_output_tensor = nullptr;
};

enum class Conv2dDirection { forward, backward_data, backward_weight };

/// What an engine is asked to do.
struct Conv2dProblem {
  Conv2dDesc desc;
  Conv2dDirection direction = Conv2dDirection::forward;

  std::string str() const;
};

/// One implementation of a convolution. Its results do not depend on the number of threads.
struct Conv2dEngine {
  const char* name;
  Device::Kind device;
  /// Most that a result may deviate from f64, ||difference|| / ||result||, on features and weights as networks have them.
  double error;
  Precision grade = Precision::fp32;  // that it is made for; one of fp32 may serve the others, too
  bool reads_halves = false;          // an input of bf16 or f16, from the tensor
  bool exact_integers;                // products and sums of small integers come out exact
  const char* (*decline)(const Conv2dProblem& problem, Precision precision);  // nullptr: can do it
  int64_t (*workspace_bytes)(const Conv2dProblem& problem);                   // most that it allocates beside its arguments
  int64_t (*kept_bytes)(const Conv2dProblem& problem);    // what it would keep with the weight; nullptr: nothing
  int64_t (*spared_bytes)(const Conv2dProblem& problem);  // of workspace_bytes, when that is kept; nullptr: kept_bytes
  /// Whether the forward pass can write the mask of its output as it goes; nullptr: never.
  bool (*writes_relu_mask)(const Conv2dDesc& desc);
  /// Whether it can pool the output, or read a pooled gradient, as it goes; nullptr: never.
  bool (*pools)(const Conv2dProblem& problem);
  /// Whether backward_data can add a GramContribution; nullptr: never.
  bool (*adds)(const Conv2dDesc& desc) = nullptr;
  /// A direction that the engine always declines is nullptr.
  void (*forward)(const Conv2dDesc& desc, const Conv2dForwardArgs& args);
  void (*backward_data)(const Conv2dDesc& desc, const Conv2dBackwardDataArgs& args);
  void (*backward_weight)(const Conv2dDesc& desc, const Conv2dBackwardWeightArgs& args);
};

/// All engines of this build in order of preference; one of each device accepts everything.
std::span<const Conv2dEngine* const> conv2d_engines();
/// The engine that a call uses under the current execution settings.
const Conv2dEngine& conv2d_engine_for(const Conv2dProblem& problem, Device device);

}  // namespace minidl
