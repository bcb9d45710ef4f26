#include <minidl/core/profile.h>
#include <minidl/kernels/curvature_pair.h>
#include <minidl/kernels/dispatch.h>

namespace minidl {
namespace {

constexpr const char* kOp = "curvature_pair";

void check_of(const Tensor& x, const Shape& shape, Dtype dtype, const char* name) {
  MINIDL_CHECK(x && x.dtype() == dtype && x.shape() == shape, "[{}] {} is {} of {}, it must be {} of {}", kOp, name,
               x.shape(), to_string(x.dtype()), shape, to_string(dtype));
}

}  // namespace

void curvature_pair(const SearchPoint& point, Tensor& s, Tensor& y, Tensor& y_values, Tensor& products) {
  const auto& [position, start, gradient, gradient_at_start, direction] = point;
  const Shape& shape = position.shape();
  check_f32(position, kOp, "position");
  check_shape(start, shape, kOp, "start");
  check_shape(gradient, shape, kOp, "gradient");
  check_shape(gradient_at_start, shape, kOp, "gradient_at_start");
  check_shape(direction, shape, kOp, "direction");
  const Dtype dtype = s.dtype();
  MINIDL_CHECK(dtype == Dtype::f32 || dtype == Dtype::bf16, "[{}] s is of {}, it must be f32 or bf16", kOp,
               to_string(dtype));
  check_of(s, shape, dtype, "s");
  check_of(y, shape, dtype, "y");
  if (dtype == Dtype::f32) {
    MINIDL_CHECK(!y_values, "[{}] y_values {} is given beside y of f32, which has them", kOp, y_values.shape());
  } else {
    check_of(y_values, shape, Dtype::f32, "y_values");
  }
  check_of(products, {kPairProducts}, Dtype::f64, "products");
  const Device device =
      common_device(kOp, position, start, gradient, gradient_at_start, direction, s, y, y_values, products);
  const ProfileRange range(kOp);
  const SearchArrays arrays{position.data<float>(), start.data<float>(), gradient.data<float>(),
                            gradient_at_start.data<float>(), direction.data<float>()};
  if (dtype == Dtype::f32) {
    MINIDL_ON(device, curvature_pair(shape.count(), arrays, s.data<float>(), y.data<float>(), products.data<double>()));
  } else {
    MINIDL_ON(device,
              curvature_pair_bf16(shape.count(), arrays, static_cast<uint16_t*>(s.raw()),
                                  static_cast<uint16_t*>(y.raw()), y_values.data<float>(), products.data<double>()));
  }
}

}  // namespace minidl
