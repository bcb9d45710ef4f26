#include <minidl/core/profile.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/elementwise.h>

#include <vector>

namespace minidl {
namespace {

struct Argument {
  const char* name;
  const Tensor& tensor;
};

/// All are f32 and have the first one's shape; returns the device that they are on.
Device check_same(const char* op, std::initializer_list<Argument> arguments) {
  const Argument& first = *arguments.begin();
  check_f32(first.tensor, op, first.name);
  for (const Argument& argument : arguments) {
    check_shape(argument.tensor, first.tensor.shape(), op, argument.name);
    common_device(op, first.tensor, argument.tensor);
  }
  return first.tensor.device();
}

}  // namespace

void add_scaled(float a, const Tensor& x, float b, const Tensor& y, Tensor& output) {
  const Device device = check_same("add_scaled", {{"x", x}, {"y", y}, {"output", output}});
  const ProfileRange range("add_scaled");
  MINIDL_ON(device, add_scaled(x.count(), a, x.data<float>(), b, y.data<float>(), output.data<float>()));
}

void combination(float a, const Tensor& x, const Tensor& b, std::span<const Tensor> y, Tensor& output) {
  const Device device = check_same("combination", {{"x", x}, {"output", output}});
  MINIDL_CHECK(b && b.dtype() == Dtype::f64 && b.shape() == Shape{std::ssize(y)},
               "[combination] the factors are {} of {}, they must be [{}] of f64", b.shape(), to_string(b.dtype()),
               y.size());
  common_device("combination", output, b);
  check_vectors(y, output.shape(), "combination", "y");
  for (const Tensor& term : y) {
    common_device("combination", output, term);
    MINIDL_CHECK(!term.shares_storage_with(output), "[combination] output is one of the tensors to be added");
  }
  const ProfileRange range("combination");
  const int64_t count = output.count();
  const float* const first = x.data<float>();
  const auto* const factors = b.data<double>();
  if (!y.empty() && y.front().dtype() == Dtype::bf16) {
    MINIDL_ON(device, combination_bf16(count, a, first, factors, pointers<uint16_t>(y), output.data<float>()));
  } else {
    MINIDL_ON(device, combination(count, a, first, factors, pointers<float>(y), output.data<float>()));
  }
}

void multiply(const Tensor& x, const Tensor& y, Tensor& output) {
  const Device device = check_same("multiply", {{"x", x}, {"y", y}, {"output", output}});
  const ProfileRange range("multiply");
  MINIDL_ON(device, multiply(x.count(), x.data<float>(), y.data<float>(), output.data<float>()));
}

void affine(float a, const Tensor& x, float b, Tensor& output) {
  const Device device = check_same("affine", {{"x", x}, {"output", output}});
  const ProfileRange range("affine");
  MINIDL_ON(device, affine(x.count(), a, x.data<float>(), b, output.data<float>()));
}

void relu_forward(const Tensor& input, Tensor& output) {
  const Device device = check_same("relu", {{"input", input}, {"output", output}});
  const ProfileRange range("relu", "forward");
  MINIDL_ON(device, relu_forward(input.count(), input.data<float>(), output.data<float>()));
}

void positive_mask(const Tensor& x, BitMask& mask) {
  check_f32(x, "relu", "output");
  check_mask(mask, x, "relu");
  const Device device = x.device();
  const ProfileRange range("relu", "mask");
  MINIDL_ON(device, positive_mask(x.count(), x.data<float>(), mask.data()));
}

void tanh_forward(const Tensor& input, float scale, Tensor& output) {
  const Device device = check_same("tanh", {{"input", input}, {"output", output}});
  const ProfileRange range("tanh", "forward");
  MINIDL_ON(device, tanh_forward(input.count(), input.data<float>(), scale, output.data<float>()));
}

void tanh_backward(const Tensor& output, float scale, const Tensor& grad_output, const Accumulate& how,
                   Tensor& grad_input) {
  const Device device =
      check_same("tanh", {{"output", output}, {"grad_output", grad_output}, {"grad_input", grad_input}});
  check_accumulate(how, grad_input, "tanh");
  MINIDL_CHECK(scale != 0.0f, "[tanh] scale is 0, so its output does not determine the gradient; use another scale");
  const ProfileRange range("tanh", "backward");
  MINIDL_ON(device, tanh_backward(output.count(), output.data<float>(), scale, grad_output.data<float>(),
                                  grad_target(how, grad_input)));
}

void accumulate_scaled(float a, const Tensor& x, const Accumulate& how, Tensor& target) {
  const Device device = check_same("accumulate_scaled", {{"x", x}, {"target", target}});
  check_accumulate(how, target, "accumulate_scaled");
  const ProfileRange range("accumulate_scaled");
  MINIDL_ON(device, accumulate_scaled(x.count(), a, x.data<float>(), grad_target(how, target)));
}

void accumulate_difference(const Factor& a, const Tensor& x, const Tensor& y, const Accumulate& how, Tensor& target) {
  const Device device = check_same("accumulate_difference", {{"x", x}, {"y", y}, {"target", target}});
  check_accumulate(how, target, "accumulate_difference");
  const ProfileRange range("accumulate_difference");
  MINIDL_ON(device, accumulate_difference(x.count(), raw_factor(a), x.data<float>(), y.data<float>(),
                                          grad_target(how, target)));
}

void accumulate_product(const Tensor& x, const Tensor& y, const Accumulate& how, Tensor& target) {
  const Device device = check_same("accumulate_product", {{"x", x}, {"y", y}, {"target", target}});
  check_accumulate(how, target, "accumulate_product");
  const ProfileRange range("accumulate_product");
  MINIDL_ON(device, accumulate_product(x.count(), x.data<float>(), y.data<float>(), grad_target(how, target)));
}

void add_per_channel(float a, const Tensor& x, const Tensor& b, Tensor& output, bool before_convolution) {
  const Device device = check_same("add_per_channel", {{"x", x}, {"output", output}});
  const int rank = x.shape().rank();
  MINIDL_CHECK(rank >= 1, "[add_per_channel] x is a scalar, it must have a channel dimension");
  const int64_t channels = x.shape()[rank - 1];
  check_shape(b, {channels}, "add_per_channel", "b");
  common_device("add_per_channel", x, b);
  const ProfileRange range("add_per_channel");
  if (channels == 0) return;
  MINIDL_ON(device, add_per_channel(x.count() / channels, channels, a, x.data<float>(), b.data<float>(),
                                    output.data<float>(), before_convolution ? &output : nullptr));
}

void clamp(Tensor& x, float low, float high) {
  check_f32(x, "clamp", "x");
  MINIDL_CHECK(low <= high, "[clamp] low {} is above high {}", low, high);
  const ProfileRange range("clamp");
  const Device device = x.device();
  MINIDL_ON(device, clamp(x.count(), x.data<float>(), low, high));
}

}  // namespace minidl
