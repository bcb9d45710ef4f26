#include <minidl/core/profile.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/half.h>

namespace minidl {
namespace {

void check(const Tensor& x, const Tensor& halves, const char* op) {
  check_f32(x, op, "x");
  MINIDL_CHECK(halves && (halves.dtype() == Dtype::f16 || halves.dtype() == Dtype::bf16) && halves.shape() == x.shape(),
               "[{}] halves {} of {} must be {} of f16 or bf16", op, halves.shape(), to_string(halves.dtype()),
               x.shape());
}

}  // namespace

void to_half(const Tensor& x, Tensor& halves) {
  check(x, halves, "to_half");
  const ProfileRange range("to_half");
  const Device device = common_device("to_half", x, halves);
  auto* const bits = static_cast<uint16_t*>(halves.raw());
  if (halves.dtype() == Dtype::f16) {
    MINIDL_ON(device, to_half(x.count(), x.data<float>(), bits));
  } else {
    MINIDL_ON(device, to_bf16(x.count(), x.data<float>(), bits));
  }
}

void from_half(const Tensor& halves, Tensor& x) {
  check(x, halves, "from_half");
  const ProfileRange range("from_half");
  const Device device = common_device("from_half", x, halves);
  const auto* const bits = static_cast<const uint16_t*>(halves.raw());
  if (halves.dtype() == Dtype::f16) {
    MINIDL_ON(device, from_half(x.count(), bits, x.data<float>()));
  } else {
    MINIDL_ON(device, from_bf16(x.count(), bits, x.data<float>()));
  }
}

Tensor as_f32(const Tensor& x) {
  if (x.dtype() == Dtype::f32) return x;
  Tensor values = Tensor::empty(x.shape(), Dtype::f32, x.device());
  from_half(x, values);
  return values;
}

}  // namespace minidl
