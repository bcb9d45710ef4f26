#pragma once
// Where results of the products over windows go, and what they become on the way.
#include <minidl/kernels/cuda/gather_product.h>
#include <minidl/kernels/cuda/map.cuh>
#include <minidl/kernels/cuda/windows.cuh>

namespace minidl::cuda {

/// The pixel that the result of a window is written to; pictures of the output follow `picture0` others.
MINIDL_DEVICE int64_t pixel_written(const GatherOutput& out, int picture0, const WindowIndex& window) {
  const auto [n, h, w] = window;
  return (static_cast<int64_t>(picture0 + n) * out.out_h + h * out.out_stride_h + out.out_begin_h) * out.out_w +
         w * out.out_stride_w + out.out_begin_w;
}

MINIDL_DEVICE float bias_of(const GatherOutput& out, int channel) {
  if (!out.bias || channel >= out.channels) return 0.0f;
  return load(out.bias +
              (out.bias_channels > 0 && channel >= out.bias_channels ? channel - out.bias_channels : channel));
}

/// A result with its bias as element i of the output.
MINIDL_DEVICE float finished(const GatherOutput& out, int64_t i, float result) {
  if (out.relu) result = relu(result);
  if (out.mask.bits && !is_set(out.mask, i)) result = 0.0f;
  return out.beta != 0.0f ? result + out.beta * load(out.output + i) : result;
}

}  // namespace minidl::cuda
