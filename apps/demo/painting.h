#pragma once
#include <minidl/core/tensor.h>

#include <cstdint>

namespace minidl::demo {

/// An abstract oil painting: whirls of brush strokes in ultramarine, turquoise, ochre and vermilion around three suns,
/// with bristle marks and the relief of thick paint. [1, height, width, 3], RGB in [0, 255]. Own composition.
Tensor paint_whirls(int64_t height, int64_t width, uint32_t seed);

}  // namespace minidl::demo
