#include <minidl/core/profile.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/total_variation.h>

namespace minidl {
namespace {

constexpr const char* kOp = "total_variation";

TotalVariationForm form_of(const Tensor& x, bool interior) {
  check_rank(x, 4, kOp, "x");
  return {x.shape()[0], x.shape()[1], x.shape()[2], x.shape()[3], interior};
}

Number forward(const Tensor& x, bool interior) {
  const TotalVariationForm form = form_of(x, interior);
  const ProfileRange range(kOp, "forward");
  return MINIDL_ON(x.device(), total_variation(form, x.data<float>()));
}

void backward(const Tensor& x, bool interior, float scale, const Accumulate& how, Tensor& grad) {
  const TotalVariationForm form = form_of(x, interior);
  check_shape(grad, x.shape(), kOp, "grad");
  check_accumulate(how, grad, kOp);
  const ProfileRange range(kOp, "backward");
  MINIDL_ON(x.device(), total_variation_backward(form, x.data<float>(), scale, grad_target(how, grad)));
}

}  // namespace

double total_variation(const Tensor& x) {
  return forward(x, false).get();
}
Tensor total_variation_scalar(const Tensor& x, double factor) {
  return forward(x, false).scaled(factor);
}
void total_variation_backward(const Tensor& x, float scale, const Accumulate& how, Tensor& grad) {
  backward(x, false, 2.0f * scale, how, grad);
}

double total_variation_interior(const Tensor& x) {
  return 0.5 * forward(x, true).get();
}
Tensor total_variation_interior_scalar(const Tensor& x, double factor) {
  return forward(x, true).scaled(0.5 * factor);
}
void total_variation_interior_backward(const Tensor& x, float scale, const Accumulate& how, Tensor& grad) {
  backward(x, true, scale, how, grad);
}

Tensor total_variation_and_gradient(const Tensor& x, bool interior, double factor, float scale, Tensor& grad) {
  const TotalVariationForm form = form_of(x, interior);
  check_shape(grad, x.shape(), kOp, "grad");
  const Device device = common_device(kOp, x, grad);
  const ProfileRange range(kOp, "with its gradient");
  const Number total = MINIDL_ON(
      device, total_variation_and_gradient(form, x.data<float>(), interior ? scale : 2.0f * scale, grad.data<float>()));
  return total.scaled(interior ? 0.5 * factor : factor);
}

}  // namespace minidl
