#pragma once
// Tiles of the products on tensor cores whose terms are windows: in shared memory [window][column], as both operands
// lie in memory, 64 bytes of windows of one column at a time; and the products of a stage. The instructions want the
// terms side by side. Of 16-bit numbers ldmatrix transposes 8 x 8 matrices, whose rows, 16 bytes of eight neighbouring
// windows, lie in eight different groups of four banks by the swizzle of transposed_place(); numbers of 32 bits are
// loaded one by one, and rows 8 words longer than the tile put the 32 numbers of a fragment into different banks.
#include <minidl/kernels/cuda/mma_tile.cuh>

#include <cstdint>

namespace minidl::cuda {

template <typename Element, int kExtent>
struct WindowMajor {
  static constexpr int kSize = sizeof(Element), kChunk = kChunkBytes / kSize;
  static constexpr int kWindows = kRowBytes / kSize;       // of a stage
  static constexpr int kWindowsOfMma = kMmaBytes / kSize;  // of one instruction
  static constexpr int kLanes = kExtent / kChunk;          // chunks of a window
  static constexpr int kPitch = kSize == 4 ? kExtent + 8 : kExtent;
  static constexpr int kBytes = kWindows * kPitch * kSize;

  /// Elements from the tile's begin to a chunk of a window's.
  MINIDL_DEVICE static int place(int window, int chunk) {
    if constexpr (kSize == 2) {
      constexpr int kSwizzled = kLanes < 8 ? kLanes : 8;
      chunk ^= window / (8 / kSwizzled) % kSwizzled;
    }
    return window * kPitch + chunk * kChunk;
  }
};

/// A fragment of 16 rows from column `first` on, of the instruction's windows from `window` on.
template <typename Type, int kExtent>
MINIDL_DEVICE void load_transposed_rows(const typename Type::Element* tile, int window, int first,
                                        typename Type::template Operand<4>& a) {
  using Layout = WindowMajor<typename Type::Element, kExtent>;
  const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
  uint32_t raw[4];
  if constexpr (Layout::kSize == 2) {
    ldmatrix_x4_trans(raw, tile + Layout::place(window + lane % 8 + lane / 16 * 8, first / 8 + lane / 8 % 2));
  } else {
    const float* const source = tile + (window + t) * Layout::kPitch + first + g;
    MINIDL_UNROLL
    for (int j = 0; j < 4; ++j) raw[j] = __float_as_uint(load(source + j / 2 * 4 * Layout::kPitch + j % 2 * 8));
  }
  Type::prepare(raw, a);
}

/// Fragments of kCount times 8 columns, likewise.
template <typename Type, int kExtent, int kCount>
MINIDL_DEVICE void load_transposed_columns(const typename Type::Element* tile, int window, int first,
                                           typename Type::template Operand<2> (&b)[kCount]) {
  using Layout = WindowMajor<typename Type::Element, kExtent>;
  const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
  MINIDL_UNROLL
  for (int j = 0; j < kCount / 2; ++j) {
    uint32_t raw[4];
    if constexpr (Layout::kSize == 2) {
      ldmatrix_x4_trans(raw, tile + Layout::place(window + lane % 16, first / 8 + 2 * j + lane / 16));
    } else {
      const float* const source = tile + (window + t) * Layout::kPitch + first + 16 * j + g;
      MINIDL_UNROLL
      for (int k = 0; k < 4; ++k) raw[k] = __float_as_uint(load(source + k % 2 * 4 * Layout::kPitch + k / 2 * 8));
    }
    Type::prepare({raw[0], raw[1]}, b[2 * j]);
    Type::prepare({raw[2], raw[3]}, b[2 * j + 1]);
  }
}

/// sums += rows transposed * columns over the windows of a stage.
template <typename Type, typename Tile>
MINIDL_DEVICE void multiply_windows(const typename Type::Element* rows, const typename Type::Element* columns,
                                    MmaSums<Tile>& sums) {
  constexpr int kDown = Tile::kWarpRows / 16, kAcross = Tile::kWarpColumns / 8;
  using Layout = WindowMajor<typename Type::Element, Tile::kRows>;
  constexpr int kProducts = Layout::kWindows / Layout::kWindowsOfMma;
  MINIDL_UNROLL
  for (int product = 0; product < kProducts; ++product) {
    const int window = product * Layout::kWindowsOfMma;
    typename Type::template Operand<2> b[kAcross];
    load_transposed_columns<Type, Tile::kColumns>(columns, window, warp_column<Tile>(), b);
    MINIDL_UNROLL
    for (int i = 0; i < kDown; ++i) {
      typename Type::template Operand<4> a;
      load_transposed_rows<Type, Tile::kRows>(rows, window, warp_row<Tile>() + 16 * i, a);
      MINIDL_UNROLL
      for (int j = 0; j < kAcross; ++j) Type::multiply(sums[i][j], a, b[j]);
    }
  }
}

}  // namespace minidl::cuda
