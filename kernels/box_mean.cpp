#include <minidl/core/profile.h>
#include <minidl/kernels/box_mean.h>
#include <minidl/kernels/dispatch.h>

namespace minidl {

namespace {

void check(const Tensor& input, int64_t width, const Tensor& output) {
  check_rank(input, 4, "box_mean", "input");
  check_shape(output, input.shape(), "box_mean", "output");
  MINIDL_CHECK(width > 0 && width % 2 == 1, "[box_mean] width is {}, it must be odd and positive", width);
  MINIDL_CHECK(input.raw() != output.raw() || input.count() == 0,
               "[box_mean] output is the input; give it a tensor of its own");
}

}  // namespace

void box_mean(const Tensor& input, int64_t width, Tensor& output) {
  check(input, width, output);
  const ProfileRange range("box_mean", "forward");
  MINIDL_ON(common_device("box_mean", input, output),
            box_mean(input.shape(), width, input.data<float>(), {nullptr, 1.0f}, output.data<float>()));
}

void add_box_mean(const Tensor& x, float factor, const Tensor& input, int64_t width, Tensor& output) {
  check(input, width, output);
  check_shape(x, input.shape(), "box_mean", "x");
  MINIDL_CHECK(x.raw() != output.raw() || input.count() == 0, "[box_mean] output is x; give it a tensor of its own");
  const ProfileRange range("box_mean", "forward");
  MINIDL_ON(common_device("box_mean", x, input, output),
            box_mean(input.shape(), width, input.data<float>(), {x.data<float>(), factor}, output.data<float>()));
}

}  // namespace minidl
