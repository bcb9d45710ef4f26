#include <minidl/core/profile.h>
#include <minidl/kernels/checks.h>
#include <minidl/kernels/conv2d.h>
#include <minidl/kernels/cpu/conv2d_engines.h>
#include <minidl/kernels/cuda/conv2d_engines.h>
#include <minidl/kernels/cuda/tuned_engine.h>
#include <minidl/kernels/cudnn/conv2d_engines.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/engine.h>
#include <minidl/kernels/half.h>
#include <minidl/kernels/reduce.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <vector>

namespace minidl {
namespace {

const Conv2dEngine* const kEngines[] = {
    &cpu::conv2d_direct_bf16,
    &cpu::conv2d_direct,
    &cpu::conv2d_winograd_bf16,
    &cpu::conv2d_winograd_amx_tf32,
    &cpu::conv2d_winograd,
    &cpu::conv2d_winograd_amx,
    &cpu::conv2d_im2col,
    &cpu::conv2d_reference,
#ifdef MINIDL_HAS_CUDA
    &cuda::conv2d_mma_tf32,
    &cuda::conv2d_mma_bf16,
    &cuda::conv2d_mma_fp16,
    &cuda::conv2d_simt,
    &cuda::conv2d_mma_3xtf32,  // by name, or timed: not compared with simt on a device yet
#endif
#ifdef MINIDL_HAS_CUDNN
    // Behind an engine that accepts everything, these are used when they are asked for by name, or when they are the
    // fastest of a tuned run: what they compute has not been compared with anything on a device yet.
    &cudnn::conv2d_cudnn,
    &cudnn::conv2d_cudnn_tf32,
#endif
};  // order is preference

/// a + b and a * b of non-negative numbers, refusing results beyond the range in which index arithmetic is safe.
constexpr int64_t kLargest = std::numeric_limits<int64_t>::max() / 16;
int64_t checked_sum(int64_t a, int64_t b) {
  MINIDL_CHECK(a <= kLargest - b, "[conv2d] {} pixels with a padding of {} are too many", a, b);
  return a + b;
}
int64_t checked_product(int64_t a, int64_t b) {
  MINIDL_CHECK(b == 0 || a <= kLargest / b, "[conv2d] sizes {} and {} multiplied are too large", a, b);
  return a * b;
}

void check_window(const Window& window) {
  const Padding& padding = window.padding;
  MINIDL_CHECK(window.stride_h >= 1 && window.stride_w >= 1, "[conv2d] stride {}x{} must be at least 1",
               window.stride_h, window.stride_w);
  MINIDL_CHECK(padding.top >= 0 && padding.bottom >= 0 && padding.left >= 0 && padding.right >= 0,
               "[conv2d] padding {} must not be negative", padding);
}

const char* name_of(Conv2dDirection direction) {
  switch (direction) {
    case Conv2dDirection::forward:
      return "forward";
    case Conv2dDirection::backward_data:
      return "backward_data";
    default:
      return "backward_weight";
  }
}

/// ||a - b|| / ||b||; infinities and NaNs that both have do not differ.
double normalised_difference(const Tensor& a, const Tensor& b) {
  const Tensor host_a = a.to(Device::cpu()), host_b = b.to(Device::cpu());
  const std::span<const float> x = host_a.span<float>(), y = host_b.span<float>();
  double difference = 0.0, norm = 0.0;
  for (size_t i = 0; i < x.size(); ++i) {
    if (x[i] == y[i] && std::isinf(x[i])) continue;
    if (std::isnan(x[i]) && std::isnan(y[i])) continue;
    const double d = static_cast<double>(x[i]) - static_cast<double>(y[i]);
    difference += d * d;
    norm += static_cast<double>(y[i]) * static_cast<double>(y[i]);
  }
  return std::sqrt(difference) / (norm > 0.0 ? std::sqrt(norm) : 1.0);
}

/// The engine that repeats a call: the one that the settings name, another one where it declines.
const Conv2dEngine& verify_engine(const Conv2dProblem& problem, Device device) {
  return choose_engine<Conv2dEngine>(kEngines, problem, device.kind, execution::precision(), execution::verify_engine(),
                                     "conv2d");
}

/// Runs a direction with the engine that the settings choose; in verify mode a second engine repeats it on a copy of
/// the output.
template <typename Run>
void run_engine(const Conv2dProblem& problem, Tensor& output, const Run& run) {
  const ProfileRange range("conv2d", name_of(problem.direction));
  const Conv2dEngine& engine = conv2d_engine_for(problem, output.device());
  if (execution::verify_engine().empty()) {
    run_on_device(output.device(), [&] { run(engine, output); });
    return;
  }
  Tensor repeated = output.clone();
  run_on_device(output.device(), [&] { run(engine, output); });
  const Conv2dEngine& second = verify_engine(problem, output.device());
  run_on_device(output.device(), [&] { run(second, repeated); });
  const double deviation = normalised_difference(output, repeated), expected = engine.error + second.error;
  MINIDL_CHECK(deviation <= expected,
               "[conv2d] {}: engine {} deviates from {} by {} (normalised; at most {} is expected)", problem,
               engine.name, second.name, deviation, expected);
}

}  // namespace

std::string Conv2dDesc::str() const {
  return detail::format_message("input {} weight {} stride {}x{} padding {}",
                                {input_shape().str(), weight_shape().str(), std::to_string(window.stride_h),
                                 std::to_string(window.stride_w), window.padding.str()});
}

std::string Conv2dProblem::str() const {
  return name_of(direction) + (" of " + desc.str());
}

Conv2dDesc Conv2dDesc::make(const Shape& input, const Shape& weight, const Window& window) {
  MINIDL_CHECK(input.rank() == 4, "[conv2d] input {} must have 4 dimensions [n, height, width, channels]", input);
  MINIDL_CHECK(weight.rank() == 4, "[conv2d] weight {} must have 4 dimensions [out, kernel height, kernel width, in]",
               weight);
  MINIDL_CHECK(weight[3] == input[3], "[conv2d] weight expects {} input channels, input has {} (input {}, weight {})",
               weight[3], input[3], input, weight);
  MINIDL_CHECK(input.count() > 0 && weight.count() > 0, "[conv2d] input {} and weight {} must not be empty", input,
               weight);
  check_window(window);
  const Conv2dDesc desc{.n = input[0],
                        .in_h = input[1],
                        .in_w = input[2],
                        .in_c = input[3],
                        .out_c = weight[0],
                        .k_h = weight[1],
                        .k_w = weight[2],
                        .window = window};
  const Padding& padding = window.padding;
  const int64_t padded_h = checked_sum(desc.in_h, checked_sum(padding.top, padding.bottom));
  const int64_t padded_w = checked_sum(desc.in_w, checked_sum(padding.left, padding.right));
  MINIDL_CHECK(padded_h >= desc.k_h && padded_w >= desc.k_w,
               "[conv2d] the kernel of weight {} is larger than input {} with padding {}: the output would be empty",
               weight, input, padding);
  checked_product(checked_product(checked_product(padded_h, padded_w), desc.n), desc.in_c);
  checked_product(checked_product(checked_product(desc.out_h(), desc.out_w()), desc.n), desc.out_c);
  return desc;
}

bool has_rows(const Conv2dDesc& desc) {
  const Padding& padding = desc.window.padding;
  return padding.mode == Padding::Mode::zero && padding.top < desc.k_h && padding.bottom < desc.k_h;
}

Conv2dRows conv2d_rows(const Conv2dDesc& desc, int64_t begin, int64_t end) {
  MINIDL_CHECK(has_rows(desc), "[conv2d] rows of {}: they need a padding of zeros, smaller than the kernel", desc);
  const Padding& padding = desc.window.padding;
  MINIDL_CHECK(0 <= begin && begin < end && end <= desc.out_h(), "[conv2d] rows {} to {} of {}", begin, end, desc);
  const int64_t first = begin * desc.window.stride_h - padding.top;
  const int64_t last = (end - 1) * desc.window.stride_h - padding.top + desc.k_h;
  Conv2dRows rows{desc, std::max<int64_t>(0, first), std::min(desc.in_h, last)};
  rows.desc.in_h = rows.in_end - rows.in_begin;
  rows.desc.window.padding.top = rows.in_begin - first;
  rows.desc.window.padding.bottom = last - rows.in_end;
  return rows;
}

std::span<const Conv2dEngine* const> conv2d_engines() {
  return kEngines;
}

const Conv2dEngine& conv2d_engine_for(const Conv2dProblem& problem, Device device) {
#ifdef MINIDL_HAS_CUDA
  if (device.kind == Device::Kind::cuda && !execution::tuning_file().empty() && execution::conv2d_engine().empty()) {
    std::vector<const Conv2dEngine*> candidates;
    std::copy_if(std::begin(kEngines), std::end(kEngines), std::back_inserter(candidates),
                 [&](const Conv2dEngine* engine) {
                   return engine->device == device.kind && !engine->decline(problem, execution::precision());
                 });
    if (!candidates.empty()) return cuda::tuned_engine(candidates, problem, device);
  }
#endif
  return choose_engine<Conv2dEngine>(kEngines, problem, device.kind, execution::precision(), execution::conv2d_engine(),
                                     "conv2d");
}

void conv2d_forward(const Conv2dDesc& desc, const Tensor& input, const Tensor& weight, const Tensor& bias,
                    Activation activation, Tensor& output, BitMask* relu_mask) {
  check_feature_map(input, desc.input_shape(), "conv2d", "input");
  check_shape(weight, desc.weight_shape(), "conv2d", "weight");
  if (bias) check_shape(bias, {desc.out_c}, "conv2d", "bias");
  check_shape(output, desc.output_shape(), "conv2d", "output");
  common_device("conv2d", input, weight, output, bias);
  if (relu_mask) check_mask(*relu_mask, output, "conv2d");
  bool mask_written = false;
  run_engine({desc, Conv2dDirection::forward}, output, [&](const Conv2dEngine& engine, Tensor& target) {
    const Tensor read = engine.reads_halves ? input : as_f32(input);
    mask_written = relu_mask && engine.writes_relu_mask && engine.writes_relu_mask(desc);
    engine.forward(desc, {.input = read.dtype() == Dtype::f32 ? read.data<float>() : nullptr,
                          .weight = weight,
                          .bias = bias ? bias.data<float>() : nullptr,
                          .activation = activation,
                          .output = target.data<float>(),
                          .relu_mask = mask_written ? relu_mask->data() : nullptr,
                          .input_tensor = &read,
                          .written_tensor = &target});
  });
  if (relu_mask && !mask_written) positive_mask(output, *relu_mask);
}

Dtype conv2d_input_type(Device device, int64_t channels) {
  constexpr int64_t kChannelsOf16Bytes = 8;
  if (device.kind == Device::Kind::cpu || channels % kChannelsOf16Bytes != 0) return Dtype::f32;
  switch (execution::precision()) {
    case Precision::bf16:
      return Dtype::bf16;
    case Precision::fp16:
      return Dtype::f16;
    default:
      return Dtype::f32;
  }
}

bool adds_as_it_goes(const Conv2dDesc& desc, Device device) {
  if (!execution::verify_engine().empty()) return false;  // what is repeated are single operations
  const Conv2dEngine& engine = conv2d_engine_for({desc, Conv2dDirection::backward_data}, device);
  return engine.adds && engine.adds(desc);
}

void check_added(const char* op, const Conv2dDesc& desc, const Tensor& grad_input, const GramContribution* added) {
  if (!added) return;
  check_shape(added->features, desc.input_shape(), op, "features");
  check_shape(added->matrix, {1, desc.in_c, desc.in_c}, op, "matrix");
  const Device device = common_device(op, grad_input, added->features, added->matrix);
  MINIDL_CHECK(adds_as_it_goes(desc, device), "[{}] the engine of {} adds nothing as it goes; add it after", op, desc);
}

void conv2d_backward_data(const Conv2dDesc& desc, const Tensor& weight, const Tensor& grad_output,
                          const Accumulate& how, Tensor& grad_input, const GramContribution* added,
                          const PoolRoute* input_route) {
  const char* op = "conv2d backward_data";
  check_shape(weight, desc.weight_shape(), op, "weight");
  check_shape(grad_output, desc.output_shape(), op, "grad_output");
  check_shape(grad_input, desc.input_shape(), op, "grad_input");
  check_accumulate(how, grad_input, op);
  common_device(op, weight, grad_output, grad_input);
  check_added(op, desc, grad_input, added);
  check_input_route(op, desc, input_route);
  run_engine({desc, Conv2dDirection::backward_data}, grad_input, [&](const Conv2dEngine& engine, Tensor& target) {
    engine.backward_data(desc, {.weight = weight,
                                .grad_output = grad_output.data<float>(),
                                .beta = how.beta,
                                .relu_mask = mask_span(how),
                                .grad_input = target.data<float>(),
                                .added_matrix = added ? &added->matrix : nullptr,
                                .added_features = added ? &added->features : nullptr,
                                .grad_output_tensor = &grad_output,
                                .written_tensor = &target,
                                .input_route = input_route});
  });
}

void conv2d_backward_weight(const Conv2dDesc& desc, const Tensor& input, const Tensor& grad_output, float beta,
                            Tensor& grad_weight) {
  const char* op = "conv2d backward_weight";
  check_shape(input, desc.input_shape(), op, "input");
  check_shape(grad_output, desc.output_shape(), op, "grad_output");
  check_shape(grad_weight, desc.weight_shape(), op, "grad_weight");
  common_device(op, input, grad_output, grad_weight);
  run_engine({desc, Conv2dDirection::backward_weight}, grad_weight, [&](const Conv2dEngine& engine, Tensor& target) {
    engine.backward_weight(desc, {.input = input.data<float>(),
                                  .grad_output = grad_output.data<float>(),
                                  .beta = beta,
                                  .grad_weight = target.data<float>(),
                                  .input_tensor = &input,
                                  .grad_output_tensor = &grad_output});
  });
}

void conv2d_backward_bias(const Tensor& grad_output, float beta, Tensor& grad_bias) {
  check_rank(grad_output, 4, "conv2d backward_bias", "grad_output");
  check_shape(grad_bias, {grad_output.shape()[3]}, "conv2d backward_bias", "grad_bias");
  const ProfileRange range("conv2d", "backward_bias");
  sum_per_channel(grad_output, beta, grad_bias);
}

}  // namespace minidl
