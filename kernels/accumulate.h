#pragma once
#include <minidl/core/tensor.h>

namespace minidl {

/// How a backward kernel writes its result r: grad = beta * grad + (relu_mask > 0 ? r : 0). With beta 0 the old contents are not read (they may
/// be NaN). `relu_mask`, or nullptr, has the shape of grad: the value of a ReLU output whose gradient this is. Masking each contribution
/// is the same as masking their sum, so no separate pass is needed.
struct Accumulate {
  float beta = 0.0f;
  const Tensor* relu_mask = nullptr;
};

}  // namespace minidl
