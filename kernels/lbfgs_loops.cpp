#include <minidl/core/profile.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/lbfgs_loops.h>

namespace minidl {
namespace {

void check_vector(const Tensor& columns, const Tensor& x, const char* op, const char* name) {
  const bool square = columns && columns.dtype() == Dtype::f64 && columns.shape().rank() == 2 &&
                      columns.shape()[0] == columns.shape()[1];
  MINIDL_CHECK(square, "[{}] columns are {} of {}, they must be [room,room] of f64", op, columns.shape(),
               to_string(columns.dtype()));
  const bool fits = x && x.dtype() == Dtype::f64 && x.shape().rank() == 1 && x.count() <= columns.shape()[0];
  MINIDL_CHECK(fits, "[{}] {} is {} of {}, it must be a vector of f64, at most as long as the columns {}", op, name,
               x.shape(), to_string(x.dtype()), columns.shape());
}

}  // namespace

void lbfgs_first_loop(const Tensor& columns, Tensor& a) {
  check_vector(columns, a, "lbfgs_first_loop", "a");
  const ProfileRange range("lbfgs_first_loop");
  MINIDL_ON(common_device("lbfgs_first_loop", columns, a),
            lbfgs_first_loop(a.count(), columns.shape()[0], columns.data<double>(), a.data<double>()));
}

void lbfgs_second_loop(const Tensor& columns, const Tensor& a, Tensor& b) {
  check_vector(columns, a, "lbfgs_second_loop", "a");
  check_vector(columns, b, "lbfgs_second_loop", "b");
  MINIDL_CHECK(a.count() == b.count(), "[lbfgs_second_loop] a is {} and b {}, they must be of one length", a.shape(),
               b.shape());
  const ProfileRange range("lbfgs_second_loop");
  MINIDL_ON(
      common_device("lbfgs_second_loop", columns, a, b),
      lbfgs_second_loop(b.count(), columns.shape()[0], columns.data<double>(), a.data<double>(), b.data<double>()));
}

}  // namespace minidl
