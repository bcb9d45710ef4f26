#include <minidl/core/profile.h>
#include <minidl/kernels/checks.h>
#include <minidl/kernels/cpu/kernels.h>
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
  const auto convert = halves.dtype() == Dtype::f16 ? cpu::to_half : cpu::to_bf16;
  convert(x.count(), x.data<float>(), static_cast<uint16_t*>(halves.raw()));
}

void from_half(const Tensor& halves, Tensor& x) {
  check(x, halves, "from_half");
  const ProfileRange range("from_half");
  const auto convert = halves.dtype() == Dtype::f16 ? cpu::from_half : cpu::from_bf16;
  convert(x.count(), static_cast<const uint16_t*>(halves.raw()), x.data<float>());
}

}  // namespace minidl
