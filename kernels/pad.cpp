#include <minidl/core/profile.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/pad.h>

#include <algorithm>

namespace minidl {
namespace {

constexpr const char* kOp = "pad";
constexpr int64_t kMostPixels = int64_t{1} << 30;  // a side of any picture; keeps sums of sizes in range

}  // namespace

Shape padded_shape(const Shape& input, const Padding& padding) {
  MINIDL_CHECK(input.rank() == 4, "[pad] input has shape {}, it must be [n,h,w,c]", input);
  MINIDL_CHECK(std::min(input[1], input[2]) >= 1, "[pad] input {} has no pixel to continue", input);
  const auto [fewest, most] = std::minmax({padding.top, padding.bottom, padding.left, padding.right});
  MINIDL_CHECK(fewest >= 0, "[pad] padding {} must not be negative", padding);
  MINIDL_CHECK(std::max({most, input[1], input[2]}) <= kMostPixels, "[pad] padding {} of input {} is too large",
               padding, input);
  return {input[0], input[1] + padding.top + padding.bottom, input[2] + padding.left + padding.right, input[3]};
}

void pad_forward(const Tensor& input, const Padding& padding, Tensor& output) {
  check_rank(input, 4, kOp, "input");
  check_shape(output, padded_shape(input.shape(), padding), kOp, "output");
  const ProfileRange range(kOp, "forward");
  MINIDL_ON(common_device(kOp, input, output),
            pad_forward(input.shape(), padding, input.data<float>(), output.data<float>()));
}

void pad_backward(const Tensor& grad_output, const Padding& padding, const Accumulate& how, Tensor& grad_input) {
  check_rank(grad_input, 4, kOp, "grad_input");
  check_shape(grad_output, padded_shape(grad_input.shape(), padding), kOp, "grad_output");
  check_accumulate(how, grad_input, kOp);
  const ProfileRange range(kOp, "backward");
  MINIDL_ON(common_device(kOp, grad_output, grad_input),
            pad_backward(grad_input.shape(), padding, grad_output.data<float>(), grad_target(how, grad_input)));
}

}  // namespace minidl
