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
  /// The order of windows: by cells of 2 x 2, and those of a cell by row and column; a last odd row or column of
  /// windows is left out. Else by row and column.
  bool in_cells = false;

  int64_t count() const {
    return in_cells ? int64_t{4} * n * (windows_h / 2) * (windows_w / 2) : int64_t{n} * windows_h * windows_w;
  }
  int64_t length() const { return int64_t{k_h} * k_w * in_c; }
  /// Whether the windows are the pixels of the picture, one by one.
  bool are_pixels() const {
    return k_h == 1 && k_w == 1 && windows_h == in_h && windows_w == in_w && stride_h == 1 && stride_w == 1 &&
           begin_h == 0 && begin_w == 0;
  }
};

/// Blocks that occupy a device: two for each multiprocessor of a large GPU. Products are cut by it, whatever the
/// device.
inline constexpr int64_t kManyBlocks = 264;
inline int64_t divided_up(int64_t count, int64_t size) {
  return (count + size - 1) / size;
}

/// The part of a product that a block computes.
struct TileSize {
  int rows, columns;
};
/// Results have the same bytes with all of them.
enum class GatherTile { usual, large, few_channels, few_windows, by_size };
/// Windows x channels, by GatherTile. Instead of the large one the usual one is taken where picture or weight are not
/// aligned to four floats.
inline constexpr TileSize kGatherTiles[] = {{64, 64}, {128, 128}, {128, 8}, {8, 128}};
/// The tile that by_size stands for.
GatherTile gather_tile(int64_t windows, int64_t channels);

/// More terms of each result, the product of row i of `rows` [windows, terms], i the window's number, and row k of
/// `matrix` [channels, terms], both in the form of the other operands: so a 1x1 convolution of another picture is added
/// as the product goes. Of any format but fp16, of pictures between zeros, whose results are not pooled; terms fill 16
/// bytes.
struct AddedRows {
  const void *rows = nullptr, *matrix = nullptr;
  int terms = 0;
};

struct TileMoments;

/// A gradient of pooled values, [n, h / 2, w / 2, channels] (rounded down), spread over the pixels of which 2x2 windows
/// were pooled, [n, h, w, channels], as an operand.
struct Unpooled {
  void* operand = nullptr;
  int h = 0, w = 0;
  const uint8_t* choice = nullptr;  // of the maximum, as in conv2d_pool2d.h; nullptr: of the average, with
  BitSpan positive = {};
};

struct GatherOutput {
  float* output;
  int channels;
  int pitch = 0;  // elements from pixel to pixel; 0: channels
  int out_h, out_w;
  int out_stride_h = 1, out_stride_w = 1, out_begin_h = 0, out_begin_w = 0;

  const float* bias = nullptr;  // [channels]: added
  int bias_channels = 0;        // unless it is 0, the bias has so many, and those of the output repeat them once
  bool relu = false;
  float scale = 1.0f;           // of the product, before the bias
  float beta = 0.0f;            // output = beta * output + (mask ? result : 0); with 0 it is not read
  BitSpan mask = {};            // of the output's elements
  uint8_t* positive = nullptr;  // bits of the output's elements, written where `channels` is a multiple of 8
  /// Windows are in cells, and `output` is that of a ReLU and a pool of each, [n, windows_h / 2, windows_w / 2,
  /// channels]; `positive` is of what is pooled, and `choice` as in conv2d_pool2d.h. On tensor cores, of products in
  /// one part, of pictures between zeros, with a multiple of 8 channels.
  bool pools = false, max_pooled = false;
  uint8_t* choice = nullptr;  // nullptr: of averages, or not wanted
  AddedRows added = {};       // on tensor cores
  /// The output once more, as an operand of the same 16 bits: of products on tensor cores that have such operands, of
  /// whole outputs with a multiple of 8 channels.
  uint16_t* rounded = nullptr;
  /// The output once more, on tensor cores, of whole outputs with a multiple of 8 channels.
  Unpooled unpooled = {};
  /// Of the results, in tiles of so many rows as WindowProducts::moment_rows says, [tiles of a picture, channels],
  /// those of pictures `moments_apart` elements apart (result_moments.h): of results that are written as they are, to
  /// an output that was not there before.
  TileMoments* moments = nullptr;
  int64_t moments_apart = 0;
  GatherTile tile = GatherTile::by_size;
};

/// picture [n, in_h, in_w, in_c], weight [channels, k_h, k_w, in_c]. Fewer than 2^31 windows and terms of each.
void gather_product(const Windows& windows, const float* picture, const float* weight, GatherOutput output,
                    cudaStream_t stream);

}  // namespace minidl::cuda
