#pragma once
#include <minidl/kernels/accumulate.h>

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

inline void check_rank(const Tensor& x, int rank, const char* op, const char* name) {
  check_f32(x, op, name);
  MINIDL_CHECK(x.shape().rank() == rank, "[{}] {} has shape {}, it must have {} dimensions", op, name, x.shape(), rank);
}

inline void check_accumulate(const Accumulate& how, const Tensor& target, const char* op) {
  if (how.relu_mask) check_shape(*how.relu_mask, target.shape(), op, "relu_mask");
}

inline const float* mask_data(const Accumulate& how) { return how.relu_mask ? how.relu_mask->data<float>() : nullptr; }

}  // namespace minidl
