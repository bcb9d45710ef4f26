#include <minidl/core/profile.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/gemm.h>

namespace minidl {
namespace {

void check_stride(const char* name, int64_t stride, int64_t row) {
  MINIDL_CHECK(stride >= row, "[gemm] {} is {}, its rows hold {} elements", name, stride, row);
}

void check_outputs(const char* op, const Tensor& input, const Tensor& weight, const Tensor& output) {
  check_rank(input, 2, op, "input");
  check_rank(weight, 2, op, "weight");
  MINIDL_CHECK(input.shape()[1] == weight.shape()[1],
               "[{}] weight expects {} inputs, input has {} (input {}, weight {})", op, weight.shape()[1],
               input.shape()[1], input.shape(), weight.shape());
  check_shape(output, {input.shape()[0], weight.shape()[0]}, op, "output");
}

}  // namespace

void gemm(const GemmDesc& desc, const float* a, const float* b, float* c, Device device) {
  MINIDL_CHECK(desc.m >= 0 && desc.n >= 0 && desc.k >= 0, "[gemm] m {}, n {} and k {} must not be negative", desc.m,
               desc.n, desc.k);
  check_stride("lda", desc.lda, desc.transpose_a ? desc.m : desc.k);
  check_stride("ldb", desc.ldb, desc.transpose_b ? desc.k : desc.n);
  check_stride("ldc", desc.ldc, desc.n);
  const ProfileRange range("gemm");
  MINIDL_ON(device, matrix_product(desc, a, b, nullptr, {c, desc.beta}));
}

void linear_forward(const Tensor& input, const Tensor& weight, const Tensor& bias, Tensor& output) {
  check_outputs("linear", input, weight, output);
  const int64_t m = input.shape()[0], k = input.shape()[1], n = weight.shape()[0];
  if (bias) check_shape(bias, {n}, "linear", "bias");
  const ProfileRange range("linear", "forward");
  const GemmDesc desc{.m = m, .n = n, .k = k, .transpose_b = true, .lda = k, .ldb = k, .ldc = n};
  MINIDL_ON(common_device("linear", input, weight, bias, output),
            matrix_product(desc, input.data<float>(), weight.data<float>(), bias ? bias.data<float>() : nullptr,
                           {output.data<float>(), 0.0f}));
}

void linear_backward_data(const Tensor& weight, const Tensor& grad_output, const Accumulate& how, Tensor& grad_input) {
  check_outputs("linear backward_data", grad_input, weight, grad_output);
  check_accumulate(how, grad_input, "linear backward_data");
  const int64_t m = grad_output.shape()[0], k = weight.shape()[0], n = weight.shape()[1];
  const ProfileRange range("linear", "backward_data");
  const GemmDesc desc{.m = m, .n = n, .k = k, .lda = k, .ldb = n, .ldc = n};
  MINIDL_ON(
      common_device("linear backward_data", weight, grad_output, grad_input),
      matrix_product(desc, grad_output.data<float>(), weight.data<float>(), nullptr, grad_target(how, grad_input)));
}

void linear_backward_weight(const Tensor& input, const Tensor& grad_output, float beta, Tensor& grad_weight) {
  check_outputs("linear backward_weight", input, grad_weight, grad_output);
  const int64_t m = grad_weight.shape()[0], k = input.shape()[0], n = input.shape()[1];
  const ProfileRange range("linear", "backward_weight");
  const GemmDesc desc{.m = m, .n = n, .k = k, .transpose_a = true, .lda = m, .ldb = n, .ldc = n};
  MINIDL_ON(
      common_device("linear backward_weight", input, grad_output, grad_weight),
      matrix_product(desc, grad_output.data<float>(), input.data<float>(), nullptr, {grad_weight.data<float>(), beta}));
}

}  // namespace minidl
