#pragma once
#include <minidl/kernels/accumulate.h>

#include <span>
#include <vector>

namespace minidl {

/// Argument checks that every kernel shares. Each names the op and the argument.
inline void check_f32(const Tensor& x, const char* op, const char* name) {
  MINIDL_CHECK(x, "[{}] {} is undefined", op, name);
  MINIDL_CHECK(x.dtype() == Dtype::f32, "[{}] {} {} holds {}, it must be f32", op, name, x.shape(), to_string(x.dtype()));
}

inline void check_shape(const Tensor& x, const Shape& shape, const char* op, const char* name) {
  check_f32(x, op, name);
  MINIDL_CHECK(x.shape() == shape, "[{}] {} has shape {}, it must be {}", op, name, x.shape(), shape);
}

/// Values f32, bf16 or f16.
inline void check_feature_map(const Tensor& x, const Shape& shape, const char* op, const char* name) {
  if (!x || size_of(x.dtype()) != sizeof(uint16_t)) return check_shape(x, shape, op, name);
  MINIDL_CHECK(x.shape() == shape, "[{}] {} has shape {}, it must be {}", op, name, x.shape(), shape);
}

inline void check_rank(const Tensor& x, int rank, const char* op, const char* name) {
  check_f32(x, op, name);
  MINIDL_CHECK(x.shape().rank() == rank, "[{}] {} has shape {}, it must have {} dimensions", op, name, x.shape(), rank);
}

/// Tensors of one shape that are read as numbers: all f32 or all bf16.
inline void check_vectors(std::span<const Tensor> x, const Shape& shape, const char* op, const char* name) {
  for (const Tensor& tensor : x) {
    MINIDL_CHECK(tensor, "[{}] {} is undefined", op, name);
    const Dtype dtype = tensor.dtype();
    MINIDL_CHECK((dtype == Dtype::f32 || dtype == Dtype::bf16) && dtype == x.front().dtype(),
                 "[{}] {} {} holds {} beside {}, all must be f32 or all bf16", op, name, tensor.shape(),
                 to_string(dtype), to_string(x.front().dtype()));
    MINIDL_CHECK(tensor.shape() == shape, "[{}] {} has shape {}, it must be {}", op, name, tensor.shape(), shape);
  }
}

/// Of tensors whose elements are T, or have its bits.
template <typename T>
std::vector<const T*> pointers(std::span<const Tensor> x) {
  std::vector<const T*> data;
  for (const Tensor& tensor : x) data.push_back(static_cast<const T*>(tensor.raw()));
  return data;
}

/// Calls use(pointers) with those of tensors as check_vectors() takes them: to float, or to the bits of bf16.
template <typename Use>
void with_pointers(std::span<const Tensor> x, const Use& use) {
  if (x.empty() || x.front().dtype() == Dtype::f32) {
    use(pointers<float>(x));
  } else {
    use(pointers<uint16_t>(x));
  }
}

inline void check_mask(const BitMask& mask, const Tensor& target, const char* op) {
  MINIDL_CHECK(mask && mask.shape() == target.shape() && mask.device() == target.device(),
               "[{}] relu_mask has shape {}, it must have {} on the same device", op, mask ? mask.shape() : Shape(),
               target.shape());
}

inline void check_accumulate(const Accumulate& how, const Tensor& target, const char* op) {
  if (how.relu_mask) check_mask(*how.relu_mask, target, op);
}

inline BitSpan mask_span(const Accumulate& how) {
  return how.relu_mask ? how.relu_mask->span() : BitSpan();
}

}  // namespace minidl
