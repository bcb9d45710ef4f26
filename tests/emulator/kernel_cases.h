#pragma once
#include <fmt/format.h>
#include <minidl/kernels/cuda/gather_product.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace minidl::emulator {

/// Windows times taps that lie inside of a picture continued by zeros, along one axis.
inline int64_t taps_inside(int64_t windows, int64_t taps, int64_t stride, int64_t begin, int64_t extent) {
  int64_t inside = 0;
  for (int64_t i = 0; i < windows; ++i) {
    for (int64_t t = 0; t < taps; ++t) {
      const int64_t at = i * stride + begin + t;
      inside += at >= 0 && at < extent;
    }
  }
  return inside;
}

/// Pixels of the picture that windows read.
inline int64_t pixels_read(const cuda::Windows& w) {
  if (w.mode != Padding::Mode::zero) return w.count() * w.k_h * w.k_w;
  return w.n * taps_inside(w.windows_h, w.k_h, w.stride_h, w.begin_h, w.in_h) *
         taps_inside(w.windows_w, w.k_w, w.stride_w, w.begin_w, w.in_w);
}

/// Numbers that tiles of rows x columns results read, of operands that have so many: those of the rows for each tile
/// across, those of the columns for each tile down.
inline int64_t read_by_tiles(const cuda::TileSize& tile, int64_t rows, int64_t of_rows, int64_t columns,
                             int64_t of_columns) {
  return of_rows * cuda::divided_up(columns, tile.columns) + of_columns * cuda::divided_up(rows, tile.rows);
}

/// A number of a table, bold above its target.
inline std::string above(double value, double target) {
  return value > target ? fmt::format("**{:.2f}**", value) : fmt::format("{:.2f}", value);
}

/// One launch that a case must make, with the bytes that it could do with and how far above its counts may be.
struct ExpectedLaunch {
  std::string kernel;
  int64_t compulsory = 0;    // every tensor once
  int64_t tile_minimum = 0;  // of matrix products: what their tiles read, and the output once; 0: not asked
  struct Limits {
    double sectors = 1.1;  // ideal = 1
    int64_t bank_conflicts = 0;
    double bytes = 1.05;  // compulsory = 1; of matrix products, tile minimum = 1
    double tensor_flops = 1.1;
  } limits = {};
  int64_t tensor_flops = 0;  // of those on tensor cores: the least; 0: none
};

/// Operations on the device whose launches are counted. Tensors are made when the case is; `run` is counted.
struct KernelCase {
  std::string shape;
  std::function<void()> run;
  /// Asked after `run`, with the number of blocks of each launch.
  std::function<std::vector<ExpectedLaunch>(const std::vector<int64_t>& blocks)> expected;
};

/// Of the moments that a product on tensor cores leaves of its results, where `element` is the bytes of an operand's
/// number.
int64_t moment_bytes(int64_t windows, int64_t channels, int64_t terms, int64_t element);

/// What makes the cases, one after the other, so that their tensors are not all there at once. `small`: shapes of which
/// all together take seconds.
std::vector<std::function<KernelCase()>> convolution_cases(bool small);
std::vector<std::function<KernelCase()>> other_cases(bool small);
std::vector<std::function<KernelCase()>> optimizer_cases(bool small);
std::vector<std::function<KernelCase()>> norm_cases(bool small);
/// Convolutions on tensor cores.
std::vector<std::function<KernelCase()>> mma_cases(bool small);
std::vector<std::function<KernelCase()>> upsample_cases(bool small);

}  // namespace minidl::emulator
