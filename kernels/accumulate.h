#pragma once
#include <minidl/core/bit_mask.h>

namespace minidl {

/// How a backward kernel writes its result r: grad = beta * grad + (relu_mask ? r : 0). With beta 0 the old contents
/// are not read (they may be NaN). `relu_mask`, or nullptr, has the shape of grad: where the ReLU output whose gradient
/// this is was positive. Masking each contribution is the same as masking their sum, so no separate pass is needed.
struct Accumulate {
  float beta = 0.0f;
  const BitMask* relu_mask = nullptr;
};

}  // namespace minidl
