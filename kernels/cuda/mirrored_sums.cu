#include <minidl/core/cuda/backend.h>
#include <minidl/core/tensor.h>
#include <minidl/kernels/cuda/mirrored_sums.h>
#include <minidl/kernels/cuda/half_formats.cuh>
#include <minidl/kernels/cuda/map.cuh>
#include <minidl/kernels/cuda/reduce.cuh>

#include <algorithm>

// A block has a tile of 32 x 32 of one matrix, on the diagonal or below, and writes the one on the other side, too,
// which it turns in shared memory, so that all is accessed in rows. A thread adds the parts of four of its elements
// side by side. Blocks leave their sums of squares, and the last one of all adds them. Grid (tiles of all matrices),
// blocks of 256. Traffic: partials on and below the diagonal, targets and outputs once.
namespace minidl::cuda {
namespace {

constexpr int kTile = 32, kTileRows = kReduceThreads / kTile, kEach = kTile / kTileRows;
constexpr int kMostSums = 32;  // of one launch: 1.9 KiB of the 4 KiB that arguments may have

struct Batch {
  MirroredSum sums[kMostSums];
  int first_block[kMostSums + 1];  // of each sum; the number of all
  int count;
};

/// Row and column of a tile of a triangle, counted row by row.
struct TilePlace {
  int row = 0, column;

  MINIDL_DEVICE explicit TilePlace(int number) : column(number) {
    while (column > row) column -= ++row;
  }
};

/// Writes a tile of the output that begins at (row0, column0), of which `value(row, column)` is the sum. Its squares.
template <typename Value>
MINIDL_DEVICE double write_tile(const MirroredSum& sum, int row0, int column0, const Value& value) {
  const int column = static_cast<int>(threadIdx.x) % kTile, first = static_cast<int>(threadIdx.x) / kTile;
  double square = 0.0;
  for (int row = first; row < kTile; row += kTileRows) {
    if (row0 + row >= sum.rows || column0 + column >= sum.rows) continue;
    const int64_t i = int64_t{row0 + row} * sum.rows + column0 + column;
    float result = value(row, column);
    if (sum.target) {
      result -= load(sum.target + i);
      square += static_cast<double>(result) * static_cast<double>(result);
      result *= sum.factor;
    }
    store(sum.output + i, result);
    if (sum.rounded) store(sum.rounded + i, Bf16::bits(result));
  }
  return square;
}

/// `continues`: the first sum belongs to the last term of the launch before.
MINIDL_KERNEL(kReduceThreads, mirrored_sums_kernel, Batch batch, bool continues, double* of_blocks, unsigned* arrived,
              double* squares) {
  MINIDL_SHARED(float, tile, [kTile][kTile + 1]);
  const int block = static_cast<int>(blockIdx.x);
  int number = 0;
  while (block >= batch.first_block[number + 1]) ++number;
  const MirroredSum& sum = batch.sums[number];
  const TilePlace place(block - batch.first_block[number]);
  const int row0 = place.row * kTile, column0 = place.column * kTile;

  const int column = static_cast<int>(threadIdx.x) % kTile, first = static_cast<int>(threadIdx.x) / kTile;
  const int64_t matrix = int64_t{sum.rows} * sum.pitch;
  double sums[kEach] = {};
  for (int part = 0; part < sum.parts; ++part) {
    const float* const from = sum.partials + part * matrix + int64_t{row0 + first} * sum.pitch + column0 + column;
    MINIDL_UNROLL
    for (int k = 0; k < kEach; ++k) {
      const bool inside = row0 + first + k * kTileRows < sum.rows && column0 + column < sum.rows;
      if (inside) sums[k] += static_cast<double>(load(from + int64_t{k * kTileRows} * sum.pitch));
    }
  }
  MINIDL_UNROLL
  for (int k = 0; k < kEach; ++k) {
    store(&tile[first + k * kTileRows][column], static_cast<float>(static_cast<double>(sum.scale) * sums[k]));
  }
  __syncthreads();
  double square;
  if (row0 == column0) {
    square = write_tile(sum, row0, row0, [&](int r, int c) { return load(&tile[max(r, c)][min(r, c)]); });
  } else {
    square = write_tile(sum, row0, column0, [&](int r, int c) { return load(&tile[r][c]); });
    square += write_tile(sum, column0, row0, [&](int r, int c) { return load(&tile[c][r]); });
  }

  if (!squares) return;
  square = combine_block<Sum>(square);
  if (threadIdx.x == 0) store(of_blocks + block, square);
  if (!is_last_block(arrived, gridDim.x)) return;
  double total = 0.0;  // of the term
  for (int k = 0; k < batch.count; ++k) {
    double value = 0.0;
    for (int i = batch.first_block[k] + static_cast<int>(threadIdx.x); i < batch.first_block[k + 1];
         i += kReduceThreads)
      value += load(of_blocks + i);
    __syncthreads();
    total += combine_block<Sum>(value);
    const int term = batch.sums[k].term;
    if (k + 1 < batch.count && batch.sums[k + 1].term == term) continue;
    if (threadIdx.x == 0) {
      const bool adds = continues && term == batch.sums[0].term;
      store(squares + term, adds ? load(squares + term) + total : total);
    }
    total = 0.0;
  }
}

}  // namespace

void mirrored_sums(std::span<const MirroredSum> sums, double* squares, cudaStream_t stream) {
  bool continues = false;
  while (!sums.empty()) {
    Batch batch{};
    batch.count = static_cast<int>(std::min<size_t>(sums.size(), kMostSums));
    std::copy_n(sums.begin(), batch.count, batch.sums);
    for (int i = 0; i < batch.count; ++i) {
      const auto tiles = static_cast<int>(blocks_for(batch.sums[i].rows, kTile));
      batch.first_block[i + 1] = batch.first_block[i] + tiles * (tiles + 1) / 2;
    }
    const int blocks = batch.first_block[batch.count];
    if (blocks > 0) {
      Tensor of_blocks = squares ? Tensor::empty({blocks}, Dtype::f64, current_device()) : Tensor();
      MINIDL_LAUNCH(mirrored_sums_kernel, static_cast<unsigned>(blocks), kReduceThreads, 0, stream, batch, continues,
                    squares ? of_blocks.data<double>() : nullptr, arrivals(), squares);
    }
    const int last = batch.sums[batch.count - 1].term;
    sums = sums.subspan(static_cast<size_t>(batch.count));
    continues = !sums.empty() && sums.front().term == last;
  }
}

}  // namespace minidl::cuda
