#pragma once
#include <minidl/core/tensor.h>
#include <minidl/kernels/cuda/gather_product.h>
#include <minidl/kernels/cuda/mma_operand.h>
#include <minidl/kernels/cuda/outer_product.h>

#include <algorithm>
#include <limits>

/// The two matrix products over windows, in each arithmetic that has them.
namespace minidl::cuda {

struct WindowProducts {
  Dtype dtype;        // of the operands
  bool reads_values;  // as they are, with any number of channels; else mma_operand.h says what operands are
  /// values [rows, channels] as an operand; undefined where they can be read as they are.
  Tensor (*operand)(const float* values, int64_t rows, int64_t channels);
  void (*gather)(const Windows& windows, const void* picture, const void* weight, const GatherOutput& output,
                 cudaStream_t stream);
  int64_t (*gather_workspace)(const Windows& windows, int channels);
  /// Whether it can pool the results of windows in cells; nullptr: never.
  bool (*pools)(const Windows& windows, int channels);
  /// Rows of the tiles of which it leaves moments (GatherOutput::moments); 0: it leaves none. nullptr: never.
  int (*moment_rows)(const Windows& windows, int channels);
  /// Channels of operands may be more than those of the output: they are `in_c` in memory.
  void (*outer)(const OuterProduct& product, const void* rows, const void* picture, int in_c, float* output,
                cudaStream_t stream);
  /// outer_product_parts() with these operands.
  Tensor (*outer_parts)(const OuterProduct& product, const void* rows, const void* picture, cudaStream_t stream);
  int64_t (*outer_workspace)(const OuterProduct& product);

  int64_t channels(int64_t channels) const { return reads_values ? channels : operand_channels(dtype, channels); }
  /// Whether it gathers from so many pixels of operands, 32 GiB on tensor cores: chunks of 16 bytes are counted in 32
  /// bits.
  bool gathers(int64_t pixels, int64_t channels) const {
    const int64_t chunks =
        operand_channels(dtype, std::max<int64_t>(1, channels)) * static_cast<int64_t>(size_of(dtype)) / 16;
    return reads_values || pixels <= std::numeric_limits<int32_t>::max() / chunks;
  }
};

/// fp32 on ordinary cores.
extern const WindowProducts products_simt;
/// On tensor cores: operands rounded to TF32, bf16 or fp16, or in two parts of TF32 each.
extern const WindowProducts products_tf32, products_bf16, products_fp16, products_tf32x3;

/// Those of the current precision: in fp32 on ordinary cores.
const WindowProducts& products_now();

/// Values as an operand of the products, and what keeps them there.
struct Operand {
  Tensor made;  // undefined: the values themselves are
  const void* data;

  explicit Operand(Tensor operand) : made(std::move(operand)), data(made.raw()) {}
  Operand(const WindowProducts& products, const float* values, int64_t rows, int64_t channels)
      : made(products.operand(values, rows, channels)), data(made ? made.raw() : values) {}
};

}  // namespace minidl::cuda
