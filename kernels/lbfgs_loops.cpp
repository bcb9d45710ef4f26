#include <minidl/core/profile.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/lbfgs_loops.h>

namespace minidl {
namespace {

void check_coefficients(const Tensor& x, int64_t count, const char* op, const char* name) {
  MINIDL_CHECK(x && x.dtype() == Dtype::f64 && x.shape() == Shape{count}, "[{}] {} is {} of {}, it must be {} of f64",
               op, name, x.shape(), to_string(x.dtype()), Shape{count});
}

void check_columns(const Tensor& columns, int64_t pairs, const char* op) {
  const bool square = columns && columns.dtype() == Dtype::f64 && columns.shape().rank() == 2 &&
                      columns.shape()[0] == columns.shape()[1];
  MINIDL_CHECK(square, "[{}] columns are {} of {}, they must be [room,room] of f64", op, columns.shape(),
               to_string(columns.dtype()));
  MINIDL_CHECK(pairs >= 1 && pairs <= columns.shape()[0],
               "[{}] there are {} pairs, it must be at least 1 and no more than the columns {} have room for", op,
               pairs, columns.shape());
}

Device device_of_all(std::span<const Tensor> vectors, const Tensor& first, const char* op) {
  for (const Tensor& vector : vectors) common_device(op, first, vector);
  return first.device();
}

}  // namespace

void lbfgs_first_loop(std::span<const Tensor> s, const Tensor& gradient, const Tensor& newest_y, Tensor& columns,
                      Tensor& a) {
  const char* op = "lbfgs_first_loop";
  check_f32(gradient, op, "gradient");
  check_vectors(s, gradient.shape(), op, "s");
  if (newest_y) check_shape(newest_y, gradient.shape(), op, "newest_y");
  check_columns(columns, std::ssize(s), op);
  check_coefficients(a, std::ssize(s), op, "a");
  common_device(op, gradient, newest_y, columns, a);
  const ProfileRange range(op);
  MINIDL_ON(device_of_all(s, gradient, op),
            lbfgs_first_loop(s, gradient.data<float>(), newest_y ? newest_y.data<float>() : nullptr, columns.shape()[0],
                             columns.data<double>(), a.data<double>()));
}

void lbfgs_second_loop(std::span<const Tensor> y, const Tensor& r, const Tensor& columns, const Tensor& a, Tensor& b) {
  const char* op = "lbfgs_second_loop";
  check_f32(r, op, "r");
  check_vectors(y, r.shape(), op, "y");
  check_columns(columns, std::ssize(y), op);
  check_coefficients(a, std::ssize(y), op, "a");
  check_coefficients(b, std::ssize(y), op, "b");
  common_device(op, r, columns, a, b);
  const ProfileRange range(op);
  MINIDL_ON(device_of_all(y, r, op),
            lbfgs_second_loop(y, r.data<float>(), columns.shape()[0], columns.data<double>(), a.data<double>(),
                              b.data<double>()));
}

void lbfgs_direction(const Tensor& x, const Tensor& b, std::span<const Tensor> s, const SearchStart& search) {
  const char* op = "lbfgs_direction";
  const Shape& shape = x.shape();
  check_f32(x, op, "x");
  check_coefficients(b, std::ssize(s), op, "b");
  check_vectors(s, shape, op, "s");
  check_shape(search.gradient, shape, op, "gradient");
  check_shape(search.start, shape, op, "start");
  check_shape(search.direction, shape, op, "direction");
  check_shape(search.position, shape, op, "position");
  check_coefficients(search.products, 2, op, "products");
  common_device(op, x, b, search.gradient, search.start, search.direction, search.position, search.products);
  const ProfileRange range(op);
  MINIDL_ON(device_of_all(s, x, op),
            lbfgs_direction(s, x.data<float>(), b.data<double>(),
                            {shape.count(), search.gradient.data<float>(), search.start.data<float>(),
                             search.direction.data<float>(), search.position.data<float>(),
                             search.products.data<double>()}));
}

}  // namespace minidl
