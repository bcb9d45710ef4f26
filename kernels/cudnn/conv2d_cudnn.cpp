#include <minidl/core/cuda/backend.h>
#include <minidl/kernels/cuda/continued.h>
#include <minidl/kernels/cudnn/conv2d_engines.h>
#include <minidl/kernels/cudnn/execute.h>
#include <minidl/kernels/dispatch.h>

#include <algorithm>
#include <vector>

namespace minidl::cudnn {
namespace {

/// What cuDNN computes of a convolution, whose paddings are of zeros: other ones are made by kernels of our own.
Conv2dDesc zero_padded(const Conv2dDesc& d) {
  return cuda::is_continued(d.window.padding) ? cuda::continued(d) : d;
}

/// The requests without which an engine cannot do a problem.
std::vector<Request> requests_of(const Conv2dProblem& problem, bool tf32) {
  Request request{.desc = zero_padded(problem.desc), .direction = problem.direction, .tf32 = tf32};
  std::vector<Request> requests{request};
  if (problem.direction != Conv2dDirection::forward) {
    request.beta = 1.0f;
    requests.push_back(request);
  }
  return requests;
}

template <bool kTf32>
const char* decline(const Conv2dProblem& problem, Precision precision) {
  if (kTf32 && precision != Precision::tf32) return "computes in tf32 only";
  if (cuda::device_count() == 0) return cuda::unavailable_reason().c_str();
  for (const Request& request : requests_of(problem, kTf32)) {
    const Plan& plan = current_plans().find(request);
    if (!plan.refusal.empty()) return plan.refusal.c_str();
  }
  return nullptr;
}

template <bool kTf32>
int64_t workspace_bytes(const Conv2dProblem& problem) {
  const Conv2dDesc& d = problem.desc;
  const bool is_continued = cuda::is_continued(d.window.padding);
  std::vector<Request> requests = requests_of(problem, kTf32);
  if (problem.direction == Conv2dDirection::forward) {
    Request request = requests.front();
    request.bias = true;
    requests.push_back(request);
    request.relu = true;
    requests.push_back(request);
  }
  int64_t bytes = 0;
  for (const Request& request : requests) bytes = std::max(bytes, current_plans().find(request).workspace_bytes);
  const auto bytes_of = [](const Shape& shape) { return shape.count() * static_cast<int64_t>(sizeof(float)); };
  if (is_continued) return bytes + bytes_of(zero_padded(d).input_shape());
  // A gradient that is masked before it is added.
  return problem.direction == Conv2dDirection::backward_data ? bytes + bytes_of(d.input_shape()) : bytes;
}

const Plan& plan_for(Request& request, const Operands& operands) {
  const float* all[] = {operands.input, operands.weight, operands.output, operands.bias};
  request.aligned =
      std::ranges::all_of(all, [](const float* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; });
  return current_plans().find(request);
}

/// The input as cuDNN reads it: continued in memory of its own where it must be.
class Continued {
 public:
  Continued(const Conv2dDesc& d, const float* input) : input_(input) {
    if (!cuda::is_continued(d.window.padding)) return;
    picture_ = Tensor::empty(zero_padded(d).input_shape(), Dtype::f32, cuda::current_device());
    cuda::pad_forward(d.input_shape(), d.window.padding, input, picture_.data<float>());
    input_ = picture_.data<float>();
  }
  const float* data() const { return input_; }

 private:
  const float* input_;
  Tensor picture_;
};

template <bool kTf32>
void forward(const Conv2dDesc& d, const Conv2dForwardArgs& args) {
  const Continued input(d, args.input);
  const bool relu = args.activation == Activation::relu;
  Operands operands{input.data(), args.weight.data<float>(), args.output, args.bias};
  // There is no engine for a ReLU alone.
  Request request{.desc = zero_padded(d), .bias = args.bias != nullptr, .relu = args.bias && relu, .tf32 = kTf32};
  if (!plan_for(request, operands).refusal.empty()) {
    request.bias = request.relu = false;
    operands.bias = nullptr;
  }
  execute(plan_for(request, operands), operands);
  if (args.bias && !request.bias) {
    cuda::add_per_channel(d.output_shape().count() / d.out_c, d.out_c, 1.0f, args.output, args.bias, args.output,
                          nullptr);
  }
  if (relu && !request.relu) cuda::relu_forward(d.output_shape().count(), args.output, args.output);
}

template <bool kTf32>
void backward_data(const Conv2dDesc& d, const Conv2dBackwardDataArgs& args) {
  const GradTarget target{args.grad_input, args.beta, args.relu_mask};
  const auto run = [&](float* grad_input, float beta) {
    const Operands operands{grad_input, args.weight.data<float>(), args.grad_output};
    Request request{.desc = zero_padded(d), .direction = Conv2dDirection::backward_data, .beta = beta, .tf32 = kTf32};
    execute(plan_for(request, operands), operands);
  };
  const auto memory = [&](const Shape& shape) { return Tensor::empty(shape, Dtype::f32, args.weight.device()); };
  if (cuda::is_continued(d.window.padding)) {
    Tensor grad = memory(zero_padded(d).input_shape());
    run(grad.data<float>(), 0.0f);
    cuda::pad_backward(d.input_shape(), d.window.padding, grad.data<float>(), target);
    return;
  }
  if (!args.relu_mask) return run(args.grad_input, args.beta);
  // cuDNN knows no mask: its gradient is masked in place, or before it is added to what is there.
  Tensor grad = args.beta == 0.0f ? Tensor() : memory(d.input_shape());
  float* unmasked = grad ? grad.data<float>() : args.grad_input;
  run(unmasked, 0.0f);
  cuda::accumulate_scaled(d.input_shape().count(), 1.0f, unmasked, target);
}

template <bool kTf32>
void backward_weight(const Conv2dDesc& d, const Conv2dBackwardWeightArgs& args) {
  const Continued input(d, args.input);
  const Operands operands{input.data(), args.grad_weight, args.grad_output};
  Request request{
      .desc = zero_padded(d), .direction = Conv2dDirection::backward_weight, .beta = args.beta, .tf32 = kTf32};
  execute(plan_for(request, operands), operands);
}

template <bool kTf32>
constexpr Conv2dEngine engine(const char* name, double error) {
  return {.name = name,
          .device = Device::Kind::cuda,
          .error = error,
          .grade = kTf32 ? Precision::tf32 : Precision::fp32,
          .exact_integers = true,
          .decline = decline<kTf32>,
          .workspace_bytes = workspace_bytes<kTf32>,
          .kept_bytes = nullptr,
          .spared_bytes = nullptr,
          .writes_relu_mask = nullptr,
          .pools = nullptr,
          .forward = forward<kTf32>,
          .backward_data = backward_data<kTf32>,
          .backward_weight = backward_weight<kTf32>};
}

}  // namespace

const Conv2dEngine conv2d_cudnn = engine<false>("cudnn", 3e-6);
/// Factors keep ten bits behind the point: each is wrong by up to 2^-11, or 2^-10 where the rest is cut off.
const Conv2dEngine conv2d_cudnn_tf32 = engine<true>("cudnn_tf32", 1e-3);

}  // namespace minidl::cudnn
