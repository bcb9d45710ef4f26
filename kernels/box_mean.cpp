#include <minidl/core/profile.h>
#include <minidl/kernels/box_mean.h>
#include <minidl/kernels/dispatch.h>

namespace minidl {

void box_mean(const Tensor& input, int64_t width, Tensor& output) {
  check_rank(input, 4, "box_mean", "input");
  check_shape(output, input.shape(), "box_mean", "output");
  MINIDL_CHECK(width > 0 && width % 2 == 1, "[box_mean] width is {}, it must be odd and positive", width);
  const float* from = input.data<float>();
  float* to = output.data<float>();
  MINIDL_CHECK(from != to || input.count() == 0, "[box_mean] output is the input; give it a tensor of its own");
  const ProfileRange range("box_mean", "forward");
  MINIDL_ON(common_device("box_mean", input, output), box_mean(input.shape(), width, from, to));
}

}  // namespace minidl
