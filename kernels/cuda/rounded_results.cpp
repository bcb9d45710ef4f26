#include <minidl/core/cuda/recording.h>
#include <minidl/kernels/cuda/rounded_results.h>
#include <minidl/kernels/half.h>

#include <memory>
#include <utility>

namespace minidl::cuda {
namespace {

struct Left {
  Tensor operand;
  uint64_t made_in;  // Recording::current_pass()
};

/// What Tensor::keep_derived() keeps an operand of a type under, and an unpooled one.
const void* key_of(Dtype dtype, bool unpooled = false) {
  static constexpr char kKeys[3][2] = {};
  return &kKeys[dtype == Dtype::f32 ? 0 : dtype == Dtype::bf16 ? 1 : 2][unpooled ? 1 : 0];
}

void leave(const Tensor& written, const void* key, const Tensor& operand) {
  written.keep_derived(key, std::make_shared<const Left>(Left{operand, Recording::current_pass()}));
}
Tensor left_under(const Tensor& tensor, const void* key) {
  const auto left = std::static_pointer_cast<const Left>(tensor.take_derived(key));
  return left && left->made_in == Recording::current_pass() ? left->operand : Tensor();
}

}  // namespace

RoundedResults::RoundedResults(const WindowProducts& products, const Tensor* written, bool wanted) : written_(written) {
  if (!written || !wanted) return;
  const Shape& shape = written->shape();
  const int64_t channels = shape[shape.rank() - 1], pixels = written->count() / channels;
  if (rounded_bytes(products, pixels, channels) == 0) return;
  operand_ = Tensor::empty({pixels, channels}, products.dtype, written->device());
}

uint16_t* RoundedResults::data() {
  return operand_ ? static_cast<uint16_t*>(operand_.raw()) : nullptr;
}

void RoundedResults::keep() const {
  if (operand_) leave_operand(*written_, operand_);
}

int64_t rounded_bytes(const WindowProducts& products, int64_t pixels, int64_t channels) {
  const bool has_halves = size_of(products.dtype) == 2;
  return has_halves && channels % 8 == 0 ? operand_bytes(products.dtype, pixels, channels) : 0;
}

void leave_operand(const Tensor& written, const Tensor& operand) {
  leave(written, key_of(operand.dtype()), operand);
}

Tensor operand_left(const WindowProducts& products, const Tensor& tensor, int64_t pixels, int64_t channels) {
  if (products.reads_values) return {};
  const Tensor operand = left_under(tensor, key_of(products.dtype));
  const bool fits =
      operand && operand.shape()[0] >= pixels && operand.shape()[1] == products.channels(channels);
  return fits ? operand : Tensor();
}

Operand operand_of(const WindowProducts& products, const Tensor* tensor, const float* values, int64_t pixels,
                   int64_t channels) {
  Tensor left = tensor ? operand_left(products, *tensor, pixels, channels) : Tensor();
  return left ? Operand(std::move(left)) : Operand(products, values, pixels, channels);
}

UnpooledResults::UnpooledResults(const WindowProducts& products, const Tensor* written, const PoolRoute* route)
    : written_(written), route_(route) {
  if (!written || !route || products.reads_values || written->shape()[3] % 8 != 0) return;
  operand_ = Tensor::empty(route->shape, products.dtype, written->device());
}

Unpooled UnpooledResults::where() {
  if (!operand_) return {};
  const bool is_max = route_->kind == PoolKind::max;
  return {.operand = operand_.raw(),
          .h = static_cast<int>(route_->shape[1]),
          .w = static_cast<int>(route_->shape[2]),
          .choice = is_max ? route_->choice.data<uint8_t>() : nullptr,
          .positive = is_max ? BitSpan() : route_->positive.span()};
}

void UnpooledResults::keep() const {
  if (operand_) leave(*written_, key_of(operand_.dtype(), true), operand_);
}

Tensor unpooled_left(const WindowProducts& products, const Tensor* grad_output, const Shape& shape) {
  if (!grad_output || products.reads_values) return {};
  const Tensor operand = left_under(*grad_output, key_of(products.dtype, true));
  return operand && operand.shape() == shape ? operand : Tensor();
}

Operand operand_of(const WindowProducts& products, const Tensor& tensor, int64_t pixels, int64_t channels) {
  if (tensor.dtype() == Dtype::f32) return operand_of(products, &tensor, tensor.data<float>(), pixels, channels);
  if (tensor.dtype() == products.dtype && products.channels(channels) == channels) return Operand(tensor);
  const Tensor values = as_f32(tensor);
  const Operand operand(products, values.data<float>(), pixels, channels);
  return operand.made ? operand : Operand(values);
}

}  // namespace minidl::cuda
