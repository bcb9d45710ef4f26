#pragma once
// Kernels of the kinds that the library is made of, right and with one planted fault each. They are compiled by the
// host compiler for the emulator's tests, once more with every access instrumented, and by nvcc to see that one source
// serves both.
#include <minidl/core/cuda/launch.cuh>
#include <minidl/kernels/cuda/last_block.cuh>
#include <minidl/kernels/cuda/mma.cuh>

namespace minidl::cuda {

enum class Plant {
  none,
  missing_barrier,         // before the partial sums are read
  divergent_shuffle,       // half of a warp does not come
  divergent_barrier,       // half of the block waits at another one
  early_return,            // threads return before a barrier
  missing_second_barrier,  // before the tiles are overwritten
  off_by_one_bound,        // of the column
  shared_race,             // two threads write the same element of a tile
  block_race,              // all blocks add to one value without an atomic
  missing_fence,           // before a block says that it is done
  early_fence,             // before what it should order
  missing_second_fence,    // after a block learned that it is the last
  not_the_last,            // a block reads what blocks after it will write
  missing_padding,         // the copy of a pixel outside of the picture
  late_wait,               // one group too many may be under way
  missing_pipeline_barrier,
  untransposed,      // matrices that lie the other way
  exchanged_chunks,  // of the two halves of an operand
  other_swizzle,     // places of chunks to which nobody wrote them
};

/// *sum += x[0]^2 + ... + x[n - 1]^2. One-dimensional blocks of whole warps.
template <Plant kPlant = Plant::none>
MINIDL_KERNEL(256, sum_of_squares_kernel, const float* __restrict__ x, int n, float* __restrict__ sum) {
  constexpr unsigned kAll = 0xffffffffu;
  MINIDL_SHARED(float, partial, [32]);
  const unsigned t = threadIdx.x, warps = blockDim.x / 32;
  if constexpr (kPlant == Plant::early_return) {
    if (static_cast<int>(t) >= n) return;
  }
  float total = 0;
  for (int i = static_cast<int>(blockIdx.x * blockDim.x + t); i < n; i += static_cast<int>(gridDim.x * blockDim.x)) {
    const float value = load(x + i);
    total = multiply_add(value, value, total);
  }
  if (kPlant != Plant::divergent_shuffle || t % 32 < 16) {
    for (int offset = 16; offset > 0; offset /= 2)
      total += __shfl_down_sync(kAll, total, static_cast<unsigned>(offset));
  }
  if (t % 32 == 0) store(&partial[t / 32], total);
  if constexpr (kPlant == Plant::divergent_barrier) {
    if (t < blockDim.x / 2) __syncthreads();
  }
  if constexpr (kPlant != Plant::missing_barrier) __syncthreads();
  if (t >= 32) return;
  total = t < warps ? load(&partial[t]) : 0.0f;
  for (int offset = 16; offset > 0; offset /= 2) total += __shfl_xor_sync(kAll, total, offset);
  if (t != 0) return;
  if constexpr (kPlant == Plant::block_race) {
    store(sum, load(sum) + total);
  } else {
    atomicAdd(sum, total);
  }
}

/// *sum = x[0] + ... + x[n - 1]: of each block first, the last one adds the blocks. `arrived` is 0. Blocks of 32.
template <Plant kPlant = Plant::none>
MINIDL_KERNEL(32, sum_of_blocks_kernel, const float* x, int n, float* parts, unsigned* arrived, float* sum) {
  const int i = static_cast<int>(blockIdx.x * 32 + threadIdx.x);
  float total = i < n ? load(x + i) : 0.0f;
  for (int offset = 16; offset > 0; offset /= 2) total += __shfl_xor_sync(0xffffffffu, total, offset);
  if (kPlant == Plant::early_fence && threadIdx.x == 0) __threadfence();
  if (threadIdx.x == 0) store(parts + blockIdx.x, total);
  if constexpr (kPlant == Plant::missing_fence || kPlant == Plant::early_fence ||
                kPlant == Plant::missing_second_fence) {
    unsigned before = 0;
    if (threadIdx.x == 0) {
      if (kPlant == Plant::missing_second_fence) __threadfence();
      before = atomicAdd(arrived, 1u);
      if (kPlant != Plant::missing_second_fence) __threadfence();
    }
    before = __shfl_sync(0xffffffffu, before, 0);
    if (before != gridDim.x - 1) return;
  } else if constexpr (kPlant == Plant::not_the_last) {
    is_last_block(arrived, gridDim.x);
    if (blockIdx.x != 1) return;
  } else {
    if (!is_last_block(arrived, gridDim.x)) return;
  }
  if (threadIdx.x != 0) return;
  total = 0.0f;
  for (unsigned block = 0; block < gridDim.x; ++block) total += load(parts + block);
  store(sum, total);
}

/// c (m x n) = a (m x k) b (k x n), row major. Tiles of 32 x 32, blocks of 256 threads with 4 rows each; grid (ceil(n /
/// 32), ceil(m / 32)).
template <Plant kPlant = Plant::none>
MINIDL_KERNEL(256, tiled_product_kernel, const float* __restrict__ a, const float* __restrict__ b,
              float* __restrict__ c, int m, int n, int k) {
  constexpr int kTile = 32, kRows = 4, kStep = kTile / kRows;
  MINIDL_SHARED(float, a_tile, [kTile][kTile + 1]);
  MINIDL_SHARED(float, b_tile, [kTile][kTile]);
  const int x = static_cast<int>(threadIdx.x) % kTile, y = static_cast<int>(threadIdx.x) / kTile;
  const int row = static_cast<int>(blockIdx.y) * kTile + y, column = static_cast<int>(blockIdx.x) * kTile + x;
  float sums[kRows] = {};
  for (int k0 = 0; k0 < k; k0 += kTile) {
    for (int i = 0; i < kTile; i += kStep) {
      const bool a_inside = row + i < m && k0 + x < k, b_inside = k0 + y + i < k && column < n;
      const int a_column = kPlant == Plant::shared_race && x == 1 ? 0 : x;
      store(&a_tile[y + i][a_column], a_inside ? load(a + static_cast<size_t>(row + i) * k + k0 + a_column) : 0.0f);
      store(&b_tile[y + i][x], b_inside ? load(b + static_cast<size_t>(k0 + y + i) * n + column) : 0.0f);
    }
    __syncthreads();
    for (int j = 0; j < kTile; ++j) {
      const float factor = load(&b_tile[j][x]);
      for (int i = 0; i < kRows; ++i) sums[i] = multiply_add(load(&a_tile[y + i * kStep][j]), factor, sums[i]);
    }
    if constexpr (kPlant != Plant::missing_second_barrier) __syncthreads();
  }
  const int columns = kPlant == Plant::off_by_one_bound ? n + 1 : n;
  for (int i = 0; i < kRows; ++i) {
    const int r = row + i * kStep;
    if (r < m && column < columns) store(c + static_cast<size_t>(r) * n + column, sums[i]);
  }
}

/// output (h x w x out_c) = relu(bias + 3x3 convolution with zero padding of input (h x w x c)); weight (out_c x 3 x 3
/// x c), c a multiple of
/// 16. As a product of 64 pixels by 64 channels a block, in steps of 16 of the 9c terms, on tensor cores in TF32, with
/// kConvStages tiles under way. Grid (ceil(h w / 64), ceil(out_c / 64)), blocks of 128 threads.
inline constexpr int kConvTile = 64, kConvStep = 16, kConvStages = 3, kConvThreads = 128;
inline constexpr int kConvRow = kConvStep + 4;  // words: rows g and columns t of a fragment lie in 32 different banks
inline constexpr size_t kConvShared = sizeof(float) * kConvStages * 2 * kConvTile * kConvRow;

struct ConvSize {
  int h, w, c, out_c;
};

template <Plant kPlant = Plant::none>
MINIDL_KERNEL(kConvThreads, conv3x3_tf32_kernel, const float* __restrict__ input, const float* __restrict__ weight,
              const float* __restrict__ bias, float* __restrict__ output, ConvSize size) {
  MINIDL_DYNAMIC_SHARED(float, tiles);
  float* const a_tiles = tiles;
  float* const b_tiles = tiles + kConvStages * kConvTile * kConvRow;
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, g = thread % 32 / 4, t = thread % 4;
  const int pixels = size.h * size.w, channel_steps = size.c / kConvStep, steps = 9 * channel_steps;
  const int pixel0 = static_cast<int>(blockIdx.x) * kConvTile, channel0 = static_cast<int>(blockIdx.y) * kConvTile;

  const auto fetch = [&](int step) {  // tile number `step` of input and weights: each thread four times 4 values
    const int tap = step / channel_steps, c0 = step % channel_steps * kConvStep + t * 4;
    const int stage = step % kConvStages;
    for (int i = 0; i < 2; ++i) {
      const int row = thread / 4 + 32 * i, pixel = pixel0 + row, channel = channel0 + row;
      const int y = pixel / size.w + tap / 3 - 1, x = pixel % size.w + tap % 3 - 1;
      bool inside = pixel < pixels && y >= 0 && y < size.h && x >= 0 && x < size.w;
      if constexpr (kPlant == Plant::missing_padding) inside = pixel < pixels && y >= 0 && y < size.h;
      const int offset = (stage * kConvTile + row) * kConvRow + t * 4;
      async_copy<16>(a_tiles + offset, input + (inside ? (y * size.w + x) * size.c + c0 : 0), inside);
      const bool used = channel < size.out_c;
      async_copy<16>(b_tiles + offset, weight + (used ? (channel * 9 + tap) * size.c + c0 : 0), used);
    }
  };

  float sums[2][4][4] = {};
  const int a_row = warp % 2 * 32, b_row = warp / 2 * 32;
  for (int step = 0; step < kConvStages - 1; ++step) {
    if (step < steps) fetch(step);
    async_commit();
  }
  for (int step = 0; step < steps; ++step) {
    async_wait<kPlant == Plant::late_wait ? kConvStages - 1 : kConvStages - 2>();
    if constexpr (kPlant != Plant::missing_pipeline_barrier) __syncthreads();
    if (step + kConvStages - 1 < steps) fetch(step + kConvStages - 1);
    async_commit();
    const float* const a_tile = a_tiles + step % kConvStages * kConvTile * kConvRow;
    const float* const b_tile = b_tiles + step % kConvStages * kConvTile * kConvRow;
    for (int k = 0; k < kConvStep; k += 8) {
      uint32_t a[2][4], b[4][2];
      for (int i = 0; i < 2; ++i) {
        for (int j = 0; j < 4; ++j) {
          const int row = a_row + 16 * i + g + 8 * (j % 2);
          a[i][j] = to_tf32(load(a_tile + row * kConvRow + k + t + 4 * (j / 2)));
        }
      }
      for (int i = 0; i < 4; ++i) {
        for (int j = 0; j < 2; ++j) b[i][j] = to_tf32(load(b_tile + (b_row + 8 * i + g) * kConvRow + k + t + 4 * j));
      }
      for (int i = 0; i < 2; ++i) {
        for (int j = 0; j < 4; ++j) mma_m16n8k8_tf32(sums[i][j], a[i], b[j]);
      }
    }
  }
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 4; ++j) {
      for (int e = 0; e < 4; ++e) {
        const int pixel = pixel0 + a_row + 16 * i + g + 8 * (e / 2), channel = channel0 + b_row + 8 * j + 2 * t + e % 2;
        if (pixel >= pixels || channel >= size.out_c) continue;
        const float sum = sums[i][j][e] + load(bias + channel);
        store(output + static_cast<size_t>(pixel) * size.out_c + channel, sum > 0 ? sum : 0.0f);
      }
    }
  }
}

/// d (16 x 8) = sum over windows of a[window][row] b[column][window] in fp16, by one warp: 64 windows in steps of 16,
/// of which two are under way; rows of `a` in chunks of 16 bytes, swizzled.
template <Plant kPlant = Plant::none>
MINIDL_KERNEL(32, half_sums_kernel, const uint16_t* a, const uint16_t* b, float* d) {
  constexpr int kWindows = 64, kStep = 16, kRows = 16, kColumns = 8, kStages = 2;
  MINIDL_SHARED(uint16_t, a_tiles, [kStages][kStep][kRows]);
  MINIDL_SHARED(uint16_t, b_tiles, [kStages][kColumns][kStep]);
  const int lane = static_cast<int>(threadIdx.x), g = lane / 4, t = lane % 4;
  const auto a_chunk = [&](int stage, int window, int chunk, bool swizzled = true) {
    return &a_tiles[stage][window][(swizzled ? chunk ^ window / 4 % 2 : chunk) * 8];
  };
  const auto fetch = [&](int step) {
    const int window = lane / 2, chunk = lane % 2;
    async_copy<16>(a_chunk(step % kStages, window, chunk), a + (step * kStep + window) * kRows + chunk * 8);
    if (lane < 16) {
      async_copy<16>(&b_tiles[step % kStages][lane / 2][lane % 2 * 8],
                     b + lane / 2 * kWindows + step * kStep + lane % 2 * 8);
    }
    async_commit();
  };
  float sums[4] = {};
  fetch(0);
  for (int step = 0; step < kWindows / kStep; ++step) {
    step + 1 < kWindows / kStep ? fetch(step + 1) : async_commit();
    async_wait<kPlant == Plant::late_wait ? 2 : 1>();
    __syncwarp();
    const int stage = step % kStages;
    uint32_t fragment_a[4], fragment_b[2];
    const int window = lane % 8 + (kPlant == Plant::exchanged_chunks ? lane / 8 % 2 : lane / 16) * 8;
    const int chunk = kPlant == Plant::exchanged_chunks ? lane / 16 : lane / 8 % 2;
    const uint16_t* const source = a_chunk(stage, window, chunk, kPlant != Plant::other_swizzle);
    if constexpr (kPlant == Plant::untransposed) {
      ldmatrix_x4(fragment_a, source);
    } else {
      ldmatrix_x4_trans(fragment_a, source);
    }
    ldmatrix_x2(fragment_b, &b_tiles[stage][lane % 8][lane / 8 % 2 * 8]);
    mma_m16n8k16_f16(sums, fragment_a, fragment_b);
    __syncwarp();
  }
  for (int i = 0; i < 4; ++i) store(d + (g + 8 * (i / 2)) * kColumns + 2 * t + i % 2, sums[i]);
}

}  // namespace minidl::cuda
