#include <minidl/core/profile.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/upsample_conv2d.h>

#include <algorithm>

namespace minidl {
namespace {

constexpr const char* kOp = "upsample_conv2d";
constexpr int64_t kMostPixels = int64_t{1} << 30;  // a side of any picture; keeps sums of sizes in range

}  // namespace

UpsampleConv2dDesc UpsampleConv2dDesc::make(const Shape& input, const Shape& weight, Padding::Mode padding) {
  MINIDL_CHECK(input.rank() == 4 && weight.rank() == 4 && weight[1] == 3 && weight[2] == 3 && weight[3] == input[3],
               "[upsample_conv2d] input {} does not fit weight {}: they must be [n,h,w,c] and [out,3,3,c]", input,
               weight);
  MINIDL_CHECK(input.count() > 0 && weight.count() > 0, "[upsample_conv2d] input {} and weight {} must not be empty",
               input, weight);
  MINIDL_CHECK(std::max(input[1], input[2]) <= kMostPixels, "[upsample_conv2d] input {} is too large", input);
  return {.n = input[0], .in_h = input[1], .in_w = input[2], .in_c = input[3], .out_c = weight[0], .padding = padding};
}

void upsample_conv2d_forward(const UpsampleConv2dDesc& desc, const Tensor& input, const Tensor& weight,
                             const Tensor& bias, Tensor& output) {
  check_feature_map(input, desc.input_shape(), kOp, "input");
  check_shape(weight, desc.weight_shape(), kOp, "weight");
  if (bias) check_shape(bias, {desc.out_c}, kOp, "bias");
  check_shape(output, desc.output_shape(), kOp, "output");
  const ProfileRange range(kOp, "forward");
  MINIDL_ON(common_device(kOp, input, weight, bias, output),
            upsample_conv2d_forward(desc, input, weight, bias ? bias.data<float>() : nullptr, output));
}

void upsample_conv2d_backward_data(const UpsampleConv2dDesc& desc, const Tensor& weight, const Tensor& grad_output,
                                   const Accumulate& how, Tensor& grad_input) {
  check_shape(weight, desc.weight_shape(), kOp, "weight");
  check_shape(grad_output, desc.output_shape(), kOp, "grad_output");
  check_shape(grad_input, desc.input_shape(), kOp, "grad_input");
  check_accumulate(how, grad_input, kOp);
  const ProfileRange range(kOp, "backward_data");
  MINIDL_ON(common_device(kOp, weight, grad_output, grad_input),
            upsample_conv2d_backward_data(desc, weight, grad_output, grad_target(how, grad_input)));
}

void upsample_conv2d_backward_weight(const UpsampleConv2dDesc& desc, const Tensor& input, const Tensor& grad_output,
                                     float beta, Tensor& grad_weight) {
  check_shape(input, desc.input_shape(), kOp, "input");
  check_shape(grad_output, desc.output_shape(), kOp, "grad_output");
  check_shape(grad_weight, desc.weight_shape(), kOp, "grad_weight");
  const ProfileRange range(kOp, "backward_weight");
  MINIDL_ON(common_device(kOp, input, grad_output, grad_weight),
            upsample_conv2d_backward_weight(desc, input, grad_output, beta, grad_weight.data<float>()));
}

}  // namespace minidl
