#include <minidl/core/cuda/recording.h>
#include <minidl/kernels/cuda/rounded_results.h>
#include <minidl/kernels/half.h>

#include <memory>

namespace minidl::cuda {
namespace {

struct Rounded {
  Tensor operand;    // [pixels, channels]
  uint64_t made_in;  // Recording::current_pass()
};

/// What Tensor::keep_derived() keeps it under.
const void* key_of(Dtype dtype) {
  static constexpr char kBf16 = 0, kHalf = 0;
  return dtype == Dtype::bf16 ? &kBf16 : &kHalf;
}

bool has_halves(const WindowProducts& products) {
  return size_of(products.dtype) == 2;
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
  if (!operand_) return;
  written_->keep_derived(key_of(operand_.dtype()),
                         std::make_shared<const Rounded>(Rounded{operand_, Recording::current_pass()}));
}

int64_t rounded_bytes(const WindowProducts& products, int64_t pixels, int64_t channels) {
  return has_halves(products) && channels % 8 == 0 ? operand_bytes(products.dtype, pixels, channels) : 0;
}

Operand operand_of(const WindowProducts& products, const Tensor* tensor, const float* values, int64_t pixels,
                   int64_t channels) {
  if (tensor && has_halves(products)) {
    if (const auto left = std::static_pointer_cast<const Rounded>(tensor->take_derived(key_of(products.dtype)))) {
      const bool fits = left->operand.shape()[0] >= pixels && left->operand.shape()[1] == channels;
      if (fits && left->made_in == Recording::current_pass()) return Operand(left->operand);
    }
  }
  return Operand(products, values, pixels, channels);
}

Operand operand_of(const WindowProducts& products, const Tensor& tensor, int64_t pixels, int64_t channels) {
  if (tensor.dtype() == Dtype::f32) return operand_of(products, &tensor, tensor.data<float>(), pixels, channels);
  if (tensor.dtype() == products.dtype && products.channels(channels) == channels) return Operand(tensor);
  const Tensor values = as_f32(tensor);
  const Operand operand(products, values.data<float>(), pixels, channels);
  return operand.made ? operand : Operand(values);
}

}  // namespace minidl::cuda
