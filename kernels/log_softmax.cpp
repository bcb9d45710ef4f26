#include <minidl/core/profile.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/log_softmax.h>

namespace minidl {
namespace {

constexpr const char* kOp = "log_softmax";

struct Rows {
  int64_t count, length;
};
Rows rows_of(const Tensor& x, const char* name) {
  check_f32(x, kOp, name);
  const int rank = x.shape().rank();
  MINIDL_CHECK(rank >= 1, "[log_softmax] {} is a scalar, it must have a dimension to normalise over", name);
  const int64_t length = x.shape()[rank - 1];
  return {length > 0 ? x.count() / length : 0, length};
}

}  // namespace

void log_softmax_forward(const Tensor& input, Tensor& output) {
  const Rows rows = rows_of(input, "input");
  check_shape(output, input.shape(), kOp, "output");
  const ProfileRange range(kOp, "forward");
  MINIDL_ON(common_device(kOp, input, output),
            log_softmax_forward(rows.count, rows.length, input.data<float>(), output.data<float>()));
}

void log_softmax_backward(const Tensor& output, const Tensor& grad_output, const Accumulate& how, Tensor& grad_input) {
  const Rows rows = rows_of(output, "output");
  check_shape(grad_output, output.shape(), kOp, "grad_output");
  check_shape(grad_input, output.shape(), kOp, "grad_input");
  check_accumulate(how, grad_input, kOp);
  const ProfileRange range(kOp, "backward");
  MINIDL_ON(common_device(kOp, output, grad_output, grad_input),
            log_softmax_backward(rows.count, rows.length, output.data<float>(), grad_output.data<float>(),
                                 grad_target(how, grad_input)));
}

}  // namespace minidl
