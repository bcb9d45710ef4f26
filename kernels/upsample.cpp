#include <minidl/core/profile.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/upsample.h>

namespace minidl {
namespace {

constexpr const char* kOp = "upsample_nearest";
constexpr int64_t kLargestFactor = 1 << 15;

/// `small` upsampled is `large`, which is called `name`.
void check_pair(const Tensor& small, const char* small_name, int64_t factor, const Tensor& large, const char* name) {
  check_rank(small, 4, kOp, small_name);
  MINIDL_CHECK(factor >= 1 && factor <= kLargestFactor, "[upsample_nearest] factor is {}, it must be 1 to {}", factor,
               kLargestFactor);
  const Shape& shape = small.shape();
  check_shape(large, {shape[0], shape[1] * factor, shape[2] * factor, shape[3]}, kOp, name);
}

}  // namespace

void upsample_nearest_forward(const Tensor& input, int64_t factor, Tensor& output) {
  check_pair(input, "input", factor, output, "output");
  const ProfileRange range(kOp, "forward");
  MINIDL_ON(common_device(kOp, input, output),
            upsample_nearest_forward(input.shape(), factor, input.data<float>(), output.data<float>()));
}

void upsample_nearest_backward(const Tensor& grad_output, int64_t factor, const Accumulate& how, Tensor& grad_input) {
  check_pair(grad_input, "grad_input", factor, grad_output, "grad_output");
  check_accumulate(how, grad_input, kOp);
  const ProfileRange range(kOp, "backward");
  MINIDL_ON(
      common_device(kOp, grad_output, grad_input),
      upsample_nearest_backward(grad_input.shape(), factor, grad_output.data<float>(), grad_target(how, grad_input)));
}

}  // namespace minidl
