#include <minidl/core/profile.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/pool2d.h>

#include <algorithm>

namespace minidl {
namespace {

constexpr int64_t kMaxChoices = 256;  // a choice is one byte

void check_desc(const Pool2dDesc& desc) {
  const Window& window = desc.window;
  const Padding& pad = window.padding;
  MINIDL_CHECK(std::min({desc.n, desc.in_h, desc.in_w, desc.c}) >= 1, "[pool2d] input {} is empty", desc.input_shape());
  MINIDL_CHECK(std::min({desc.k_h, desc.k_w, window.stride_h, window.stride_w}) >= 1,
               "[pool2d] window {}x{} and stride {}x{} must be at least 1", desc.k_h, desc.k_w, window.stride_h,
               window.stride_w);
  MINIDL_CHECK(!pad.any() || pad.mode == Padding::Mode::zero, "[pool2d] padding is {}, only zero padding is possible",
               pad);
  MINIDL_CHECK(std::min({pad.top, pad.bottom, pad.left, pad.right}) >= 0 && std::max(pad.top, pad.bottom) < desc.k_h &&
                   std::max(pad.left, pad.right) < desc.k_w,
               "[pool2d] padding {} must be smaller than the window {}x{} and not negative", pad, desc.k_h, desc.k_w);
  MINIDL_CHECK(desc.k_h <= desc.in_h + pad.top + pad.bottom && desc.k_w <= desc.in_w + pad.left + pad.right,
               "[pool2d] window {}x{} is larger than the input {} with padding {}", desc.k_h, desc.k_w,
               desc.input_shape(), pad);
}

}  // namespace

std::string Pool2dDesc::str() const {
  return detail::format_message(
      "{} pool {}x{} stride {}x{} padding {} of {}",
      {kind == PoolKind::max ? "max" : "average", std::to_string(k_h), std::to_string(k_w),
       std::to_string(window.stride_h), std::to_string(window.stride_w), window.padding.str(), input_shape().str()});
}

Pool2dDesc Pool2dDesc::make(PoolKind kind, const Shape& input, int64_t k_h, int64_t k_w, const Window& window) {
  MINIDL_CHECK(input.rank() == 4, "[pool2d] input has shape {}, it must be [n,h,w,c]", input);
  const Pool2dDesc desc{kind, input[0], input[1], input[2], input[3], k_h, k_w, window};
  check_desc(desc);
  return desc;
}

void pool2d_forward(const Pool2dDesc& desc, const Tensor& input, Tensor& output, Tensor& choice) {
  check_desc(desc);
  check_shape(input, desc.input_shape(), "pool2d", "input");
  check_shape(output, desc.output_shape(), "pool2d", "output");
  if (choice) {
    MINIDL_CHECK(desc.kind == PoolKind::max, "[pool2d] average pooling makes no choice; leave choice undefined");
    MINIDL_CHECK(choice.dtype() == Dtype::u8 && choice.shape() == desc.output_shape(),
                 "[pool2d] choice is {} {}, it must be u8 {}", to_string(choice.dtype()), choice.shape(),
                 desc.output_shape());
    MINIDL_CHECK(desc.k_h * desc.k_w <= kMaxChoices,
                 "[pool2d] a window of {}x{} has more than {} pixels to choose from", desc.k_h, desc.k_w, kMaxChoices);
  }
  const ProfileRange range("pool2d", "forward");
  MINIDL_ON(common_device("pool2d", input, output, choice),
            pool2d_forward(desc, input.data<float>(), output.data<float>(), choice ? choice.data<uint8_t>() : nullptr));
}

void pool2d_backward(const Pool2dDesc& desc, const Tensor& choice, const Tensor& grad_output, const Accumulate& how,
                     Tensor& grad_input) {
  check_desc(desc);
  check_shape(grad_output, desc.output_shape(), "pool2d", "grad_output");
  check_shape(grad_input, desc.input_shape(), "pool2d", "grad_input");
  check_accumulate(how, grad_input, "pool2d");
  MINIDL_CHECK(
      static_cast<bool>(choice) == (desc.kind == PoolKind::max),
      "[pool2d] the gradient of max pooling needs the choice of the forward pass, that of average pooling has none");
  if (choice) {
    MINIDL_CHECK(choice.dtype() == Dtype::u8 && choice.shape() == desc.output_shape(),
                 "[pool2d] choice is {} {}, it must be u8 {}", to_string(choice.dtype()), choice.shape(),
                 desc.output_shape());
  }
  const ProfileRange range("pool2d", "backward");
  MINIDL_ON(common_device("pool2d", grad_output, grad_input, choice),
            pool2d_backward({desc, choice ? choice.data<uint8_t>() : nullptr, grad_output.data<float>(),
                             grad_target(how, grad_input)}));
}

}  // namespace minidl
