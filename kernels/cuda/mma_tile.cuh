#pragma once
// A block's part of a matrix product whose operands both have their terms side by side: tiles of rows and columns in
// shared memory, 64 bytes of terms at a time, and the products of a stage.
//
// A tile has rows of 64 bytes, four chunks of 16. Chunk j of row i lies at place j ^ (i / 2 % 4): the eight rows of a
// matrix that ldmatrix reads at once, chunk j of each, are in eight different groups of four banks, and so are the four
// chunks of two rows that eight lanes write. (It is the 64-byte swizzle of TMA and wgmma, too.)
#include <minidl/kernels/cuda/mma.cuh>

#include <algorithm>
#include <cstddef>

namespace minidl::cuda {

constexpr int kChunkBytes = 16, kChunks = 4, kRowBytes = kChunks * kChunkBytes;
constexpr int kMmaBytes = 32;  // of a row that one instruction multiplies
constexpr int kMmaStages = 4;  // tiles of both operands that are under way

/// kRows x kColumns results, of which each warp has kWarpRows x kWarpColumns.
template <int kRows_, int kColumns_, int kWarpRows_, int kWarpColumns_>
struct MmaTile {
  static constexpr int kRows = kRows_, kColumns = kColumns_, kWarpRows = kWarpRows_, kWarpColumns = kWarpColumns_;
  static constexpr int kWarpsDown = kRows / kWarpRows, kWarps = kWarpsDown * (kColumns / kWarpColumns);
  static constexpr int kThreads = 32 * kWarps;
  static constexpr int kSums = kWarpRows * kWarpColumns / 32;  // registers of a thread
  static constexpr int kStageBytes = (kRows + kColumns) * kRowBytes;
  static constexpr int kShared = kMmaStages * kStageBytes;
};

/// Threads of a multiprocessor for which its registers are enough, and blocks.
template <typename Type, typename Tile>
constexpr int kMmaThreads = Tile::kSums* Type::kParts > 64           ? 256
                            : Type::kParts == 2 && Tile::kSums == 32 ? 384
                                                                     : 512;
/// As many as shared memory is enough for, of which 9.0 has the most; a block takes 1 KiB beside its own.
template <typename Type, typename Tile, int kShared = Tile::kShared>
constexpr int kMmaBlocks = std::min(kMmaThreads<Type, Tile> / Tile::kThreads, (228 << 10) / (kShared + (1 << 10)));

/// Bytes from a tile's begin to a chunk of a row.
MINIDL_DEVICE int swizzled(int row, int chunk) {
  return row * kRowBytes + (chunk ^ row / 2 % kChunks) * kChunkBytes;
}

/// What a thread accumulates: of the products of m16n8k* fragments, mma.cuh says which rows and columns they are.
template <typename Tile>
using MmaSums = float[Tile::kWarpRows / 16][Tile::kWarpColumns / 8][4];

/// Where the running warp's part of the tile begins.
template <typename Tile>
MINIDL_DEVICE int warp_row() {
  return static_cast<int>(threadIdx.x) / 32 % Tile::kWarpsDown * Tile::kWarpRows;
}
template <typename Tile>
MINIDL_DEVICE int warp_column() {
  return static_cast<int>(threadIdx.x) / 32 / Tile::kWarpsDown * Tile::kWarpColumns;
}

/// The row of the tile of this thread's pairs number i, of those that it has in each column.
template <typename Tile>
MINIDL_DEVICE int pair_row(int i) {
  return warp_row<Tile>() + static_cast<int>(threadIdx.x) % 32 / 4 + i * 8;
}
/// The column of the tile at which this thread's pairs number j begin.
template <typename Tile>
MINIDL_DEVICE int pair_column(int j) {
  return warp_column<Tile>() + j * 8 + static_cast<int>(threadIdx.x) % 4 * 2;
}
/// What this thread has at pair_row(i) and pair_column(j) + side.
template <typename Tile>
MINIDL_DEVICE float pair_sum(const MmaSums<Tile>& sums, int i, int j, int side) {
  return sums[i / 2][j][i % 2 * 2 + side];
}

/// Calls body(row, column, first, second) for each pair of neighbouring results of this thread, row by row of the tile.
/// All lanes of a warp call together.
template <typename Tile, typename Body>
MINIDL_DEVICE void for_pairs(const MmaSums<Tile>& sums, const Body& body) {
  MINIDL_UNROLL
  for (int i = 0; i < Tile::kWarpRows / 8; ++i) {
    MINIDL_UNROLL
    for (int j = 0; j < Tile::kWarpColumns / 8; ++j) {
      body(pair_row<Tile>(i), pair_column<Tile>(j), pair_sum<Tile>(sums, i, j, 0), pair_sum<Tile>(sums, i, j, 1));
    }
  }
}

/// The same for a body that is too long for a copy of it at each pair: result(i, j, side) is what this thread has at
/// pair_row(i) and pair_column(j) + side. Threads read back from `shared`, of kShared bytes, with which the main loop
/// is done, what they wrote there, half of the rows at a time if the whole does not fit.
template <typename Tile, typename Result, typename Body>
MINIDL_DEVICE void for_pairs_in_turn(std::byte* shared, const Result& result, const Body& body) {
  constexpr int kAcross = Tile::kWarpColumns / 8, kPairs = Tile::kWarpRows / 8 * kAcross;
  constexpr int kBytes = kPairs * Tile::kThreads * int{sizeof(float2)}, kParts = kBytes <= Tile::kShared ? 1 : 2;
  static_assert(kBytes <= kParts * Tile::kShared && kPairs % (kParts * kAcross) == 0);
  constexpr int kOfPart = kPairs / kParts;
  float2* const own = reinterpret_cast<float2*>(shared) + threadIdx.x;
  __syncthreads();
  MINIDL_UNROLL
  for (int part = 0; part < kParts; ++part) {
    MINIDL_UNROLL
    for (int k = 0; k < kOfPart; ++k) {
      const int i = (part * kOfPart + k) / kAcross, j = k % kAcross;
      store(own + k * Tile::kThreads, make_float2(result(i, j, 0), result(i, j, 1)));
    }
    MINIDL_NO_UNROLL
    for (int k = 0; k < kOfPart; ++k) {
      const float2 two = load(own + k * Tile::kThreads);
      body(pair_row<Tile>((part * kOfPart + k) / kAcross), pair_column<Tile>(k % kAcross), two.x, two.y);
    }
  }
}

/// Fragments of kCount times eight columns, from the address that this lane gives.
template <typename Type, int kCount>
MINIDL_DEVICE void load_columns(const std::byte* address, typename Type::template Operand<2> (&b)[kCount]) {
  if constexpr (kCount == 1) {
    uint32_t raw[2];
    ldmatrix_x2(raw, address);
    Type::prepare(raw, b[0]);
  } else {
    MINIDL_UNROLL
    for (int j = 0; j < kCount / 2; ++j) {
      uint32_t raw[4];
      ldmatrix_x4(raw, address + j * 16 * kRowBytes);
      Type::prepare({raw[0], raw[1]}, b[2 * j]);
      Type::prepare({raw[2], raw[3]}, b[2 * j + 1]);
    }
  }
}

/// sums += rows * columns over the terms of a stage, whose tile of columns follows that of rows.
template <typename Type, typename Tile>
MINIDL_DEVICE void multiply_stage(const std::byte* stage, MmaSums<Tile>& sums) {
  constexpr int kDown = Tile::kWarpRows / 16, kAcross = Tile::kWarpColumns / 8, kNextColumns = kAcross > 1 ? 8 : 0;
  constexpr int kProducts = kRowBytes / kMmaBytes;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  // ldmatrix: a lane gives a row of 16 bytes. Of rows, 16 with the first chunk and the same 16 with the next; of
  // columns, 8 with both chunks and the next 8. The chunks of the next product differ in one bit of their places.
  const int row = warp_row<Tile>() + lane % 16, row_chunk = lane / 16;
  const int column = warp_column<Tile>() + lane / 16 * kNextColumns + lane % 8, column_chunk = lane / 8 % 2;
  const int row_place = swizzled(row, row_chunk), column_place = swizzled(column, column_chunk);
  const std::byte* const columns = stage + Tile::kRows * kRowBytes;
  MINIDL_UNROLL
  for (int product = 0; product < kProducts; ++product) {
    typename Type::template Operand<2> b[kAcross];
    load_columns<Type>(columns + (column_place ^ product * kMmaBytes), b);
    const std::byte* const rows = stage + (row_place ^ product * kMmaBytes);
    MINIDL_UNROLL
    for (int i = 0; i < kDown; ++i) {
      uint32_t raw[4];
      ldmatrix_x4(raw, rows + i * 16 * kRowBytes);
      typename Type::template Operand<4> a;
      Type::prepare(raw, a);
      MINIDL_UNROLL
      for (int j = 0; j < kAcross; ++j) Type::multiply(sums[i][j], a, b[j]);
    }
  }
}

/// The main loop. fetch(stage) starts the copies of the next step's tiles, multiply(stage) adds the products of the
/// oldest; `shared` has kMmaStages of kStageBytes.
template <int kStageBytes, typename Fetch, typename Multiply>
MINIDL_DEVICE void mma_loop(std::byte* shared, int steps, const Fetch& fetch, const Multiply& multiply) {
  for (int step = 0; step < kMmaStages - 1; ++step) {
    if (step < steps) fetch(shared + step * kStageBytes);
    async_commit();
  }
  for (int step = 0; step < steps; ++step) {
    async_wait<kMmaStages - 2>();
    __syncthreads();
    if (step + kMmaStages - 1 < steps) fetch(shared + (step + kMmaStages - 1) % kMmaStages * kStageBytes);
    async_commit();
    multiply(shared + step % kMmaStages * kStageBytes);
  }
}

}  // namespace minidl::cuda
