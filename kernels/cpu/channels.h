#pragma once
#include <minidl/kernels/cpu/kernels.h>

#include <cstdint>

/// Passes over arrays [positions, c] with one value per channel: what the normalisations are made of. Sums are taken in
/// f64 over blocks of a fixed size, the blocks in order.
namespace minidl::cpu {

/// output = (x - mean) * scale + shift + residual, then max(0, .) if `relu`. All three [c]; without a residual it is
/// nullptr.
struct ChannelAffine {
  const float *mean, *scale, *shift;
};
void channel_affine(const ChannelRows& rows, const float* x, const ChannelAffine& map, const float* residual, bool relu,
                    float* output);

/// sums [3, c]: of g, of g * (x - mean) and of x - mean.
void channel_sums(const ChannelRows& rows, const float* x, const float* mean, const float* g, double* sums);

/// Writes the gradient scale * (g - (x - mean) * slope - offset). All four [c].
struct ChannelGradient {
  const float *mean, *scale, *slope, *offset;
};
void channel_gradient(const ChannelRows& rows, const float* x, const float* g, const ChannelGradient& map,
                      const GradTarget& target);

}  // namespace minidl::cpu
