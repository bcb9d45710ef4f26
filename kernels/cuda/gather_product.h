#pragma once
#include <cuda_runtime.h>
#include <minidl/core/bit_mask.h>
#include <minidl/kernels/padding.h>

#include <cstdint>

/// The matrix product under convolutions, their gradients with respect to the input, linear layers and the gradient of
/// Gram matrices: rows are windows of a picture, gathered as the product goes, columns are channels of the result.
namespace minidl::cuda {

/// result[n, h, w, k] = sum over r, s, c of picture'[n, h * stride_h + begin_h + r, w * stride_w + begin_w + s, c]
///                      * weight[k, r, s, c]
/// for h < windows_h, w < windows_w, where picture' continues the picture as `mode` says. It is written to pixel (h *
/// out_stride_h + out_begin_h, w * out_stride_w + out_begin_w) of output [n, out_h, out_w, channels].
struct Windows {
  int n, in_h, in_w, in_c;
  Padding::Mode mode = Padding::Mode::zero;
  int k_h = 1, k_w = 1;
  int windows_h, windows_w;
  int stride_h = 1, stride_w = 1, begin_h = 0, begin_w = 0;

  int64_t count() const { return int64_t{n} * windows_h * windows_w; }
  int64_t length() const { return int64_t{k_h} * k_w * in_c; }
};

/// Blocks that occupy a device: two for each multiprocessor of a large GPU. Products are cut by it, whatever the
/// device.
inline constexpr int64_t kManyBlocks = 264;
inline int64_t divided_up(int64_t count, int64_t size) {
  return (count + size - 1) / size;
}

/// Windows x channels of a block: 64 x 64, 128 x 128 (64 x 64 where picture or weight are not aligned to four floats),
/// 128 x 8, 8 x 128. Results have the same bytes.
enum class GatherTile { by_size, usual, large, few_channels, few_windows };

struct GatherOutput {
  float* output;
  int channels;
  int pitch = 0;  // elements from pixel to pixel; 0: channels
  int out_h, out_w;
  int out_stride_h = 1, out_stride_w = 1, out_begin_h = 0, out_begin_w = 0;

  const float* bias = nullptr;  // [channels]: added
  bool relu = false;
  float scale = 1.0f;           // of the product, before the bias
  float beta = 0.0f;            // output = beta * output + (mask ? result : 0); with 0 it is not read
  BitSpan mask = {};            // of the output's elements
  uint8_t* positive = nullptr;  // bits of the output's elements, written where `channels` is a multiple of 8
  GatherTile tile = GatherTile::by_size;
};

/// picture [n, in_h, in_w, in_c], weight [channels, k_h, k_w, in_c]. Fewer than 2^31 windows and terms of each.
void gather_product(const Windows& windows, const float* picture, const float* weight, GatherOutput output,
                    cudaStream_t stream);

}  // namespace minidl::cuda
