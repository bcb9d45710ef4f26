#include <minidl/kernels/smooth.h>
#include <minidl/optim/preconditioner.h>

#include <algorithm>
#include <cmath>

namespace minidl::optim {

Preconditioner smoothing(float strength, int64_t width) {
  MINIDL_CHECK(std::isfinite(strength) && strength >= 0,
               "[smoothing] strength is {}, it must be finite and not negative", strength);
  MINIDL_CHECK(width == 0 || (width > 0 && width % 2 == 1), "[smoothing] width is {}, it must be 0 or odd and positive",
               width);
  const auto side = [width](const Tensor& x) {
    const Shape& shape = x.shape();
    MINIDL_CHECK(shape.rank() == 4, "[smoothing] x has shape {}, it must be [n,h,w,c]", shape);
    return width > 0 ? width : std::max<int64_t>(3, std::max(shape[1], shape[2]) / 12 | 1);
  };
  return {[=](const Tensor& x, float factor, Tensor& output) { smooth(x, strength, side(x), factor, output); },
          [=](const Tensor& x, Tensor& product) { smooth_product(x, strength, side(x), product); }};
}

}  // namespace minidl::optim
