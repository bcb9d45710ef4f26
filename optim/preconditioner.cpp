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
  return [strength, width](const Tensor& x, float factor, Tensor& output) {
    const Shape& shape = x.shape();
    MINIDL_CHECK(shape.rank() == 4, "[smoothing] x has shape {}, it must be [n,h,w,c]", shape);
    const int64_t side = width > 0 ? width : std::max<int64_t>(3, std::max(shape[1], shape[2]) / 12 | 1);
    smooth(x, strength, side, factor, output);
  };
}

}  // namespace minidl::optim
