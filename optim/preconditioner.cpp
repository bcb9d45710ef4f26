#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/pool2d.h>
#include <minidl/optim/preconditioner.h>

#include <algorithm>
#include <cmath>

namespace minidl::optim {
namespace {

/// Mean over `k_h` x `k_w` pixels around each, counting zeros outside.
void average(const Shape& shape, int64_t k_h, int64_t k_w, const Tensor& input, Tensor& output) {
  const Padding padding{Padding::Mode::zero, k_h / 2, k_h / 2, k_w / 2, k_w / 2};
  Tensor no_choice, target = output.reshape(shape);
  pool2d_forward(Pool2dDesc::make(PoolKind::average, shape, k_h, k_w, Window{1, 1, padding}), input.reshape(shape),
                 target, no_choice);
}

}  // namespace

Preconditioner smoothing(float strength, int64_t width) {
  MINIDL_CHECK(std::isfinite(strength) && strength >= 0,
               "[smoothing] strength is {}, it must be finite and not negative", strength);
  MINIDL_CHECK(width == 0 || (width > 0 && width % 2 == 1), "[smoothing] width is {}, it must be 0 or odd and positive",
               width);
  return [strength, width](const Tensor& x, Tensor& output) {
    const Shape& shape = x.shape();
    MINIDL_CHECK(shape.rank() == 4, "[smoothing] x has shape {}, it must be [n,h,w,c]", shape);
    // Down the columns, a row's values lie side by side: they are the channels of a picture that is one pixel wide.
    const Shape rows{shape[0], shape[1], 1, shape[2] * shape[3]};
    const int64_t side = width > 0 ? width : std::max<int64_t>(3, std::max(shape[1], shape[2]) / 12 | 1);
    Tensor other = Tensor::empty(shape, Dtype::f32, x.device());
    average(rows, side, 1, x, output);
    average(rows, side, 1, output, other);
    average(shape, 1, side, other, output);
    average(shape, 1, side, output, other);
    add_scaled(1.0f, x, strength, other, output);
  };
}

}  // namespace minidl::optim
