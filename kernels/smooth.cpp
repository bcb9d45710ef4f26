#include <minidl/core/profile.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/smooth.h>

namespace minidl {

void smooth(const Tensor& x, float strength, int64_t width, float factor, Tensor& output) {
  check_rank(x, 4, "smooth", "x");
  check_shape(output, x.shape(), "smooth", "output");
  MINIDL_CHECK(width > 0 && width % 2 == 1, "[smooth] width is {}, it must be odd and positive", width);
  MINIDL_CHECK(!output.shares_storage_with(x) || x.count() == 0, "[smooth] output is x; give it a tensor of its own");
  const ProfileRange range("smooth");
  MINIDL_ON(common_device("smooth", x, output),
            smooth(x.shape(), {strength, width, factor}, x.data<float>(), output.data<float>()));
}

}  // namespace minidl
