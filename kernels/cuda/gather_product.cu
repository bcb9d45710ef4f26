#include <minidl/kernels/cuda/gather_product.h>
#include <minidl/kernels/cuda/map.cuh>
#include <minidl/kernels/cuda/windows.cuh>

// Implicit GEMM: result (windows x channels) = windows (windows x length) * weight (channels x length) transposed, in
// fp32. A block computes kTile x kTile results in steps of kStep terms: three tiles of each operand are under way in
// shared memory, [row][term] with terms side by side as they are in memory. A thread has every 16th row and column of
// (kTile / 16)^2 results and reads four terms of a row at a time; rows are kStep + 4 words apart, so that the eight
// lanes that are served together hit 32 different banks, as do the two rows that are written together. Grid (windows /
// kTile, channels / kTile), blocks of 256. Flops 2 * windows * channels * length; traffic of a block 2 * kTile * length
// floats, the output once. Sums run along the terms in order, in fp32.
namespace minidl::cuda {
namespace {

constexpr int kThreads = 256, kStep = 16, kRow = kStep + 4, kStages = 3;

template <int kTile>
constexpr size_t kShared = sizeof(float) * kStages * 2 * kTile* kRow;

/// sum + a . b, in order.
MINIDL_DEVICE float add_products(const float4& a, const float4& b, float sum) {
  return multiply_add(a.w, b.w, multiply_add(a.z, b.z, multiply_add(a.y, b.y, multiply_add(a.x, b.x, sum))));
}

/// The row of a tile that a group of lanes fetches. Two groups side by side are served together: their rows are 4
/// apart, so that the 16 words of each lie in different banks.
MINIDL_DEVICE int fetched_row(int group) {
  return group / 8 * 8 + group % 2 * 4 + group / 2 % 4;
}

/// One result, with its bias, of column `channel` and of the output's pixel number `pixel`. All lanes of a warp call
/// together; those without a result say so.
MINIDL_DEVICE void write_result(const GatherOutput& out, bool inside, int64_t pixel, int channel, float result) {
  const int64_t i = pixel * (out.pitch ? out.pitch : out.channels) + channel;
  if (inside) {
    if (out.relu && result < 0.0f) result = 0.0f;
    if (out.mask.bits && !is_set(out.mask, i)) result = 0.0f;
    if (out.beta != 0.0f) result += out.beta * load(out.output + i);
    store(out.output + i, result);
  }
  if (!out.positive) return;
  const unsigned bits = __ballot_sync(0xffffffffu, result > 0.0f);
  const unsigned lane = threadIdx.x % 32;
  if (lane % 8 == 0 && inside) store(out.positive + i / 8, static_cast<uint8_t>(bits >> lane));
}

template <int kTile, int kVector>
MINIDL_KERNEL_RESIDENT(kThreads, (kTile == 64 && kVector == 4 ? 3 : 2), gather_product_kernel, Windows windows,
                       int count, int length, const float* picture, const float* weight, GatherOutput out) {
  constexpr int kLanes = kStep / kVector, kRowsAtOnce = kThreads / kLanes, kFetches = kTile / kRowsAtOnce;
  constexpr int kPerThread = kTile / 16;
  MINIDL_DYNAMIC_SHARED(float, tiles);
  const int thread = static_cast<int>(threadIdx.x);
  const int window0 = static_cast<int>(blockIdx.x) * kTile, channel0 = static_cast<int>(blockIdx.y) * kTile;
  const auto tile_of = [&](int stage, int operand) { return tiles + (stage * 2 + operand) * kTile * kRow; };

  const int first_row = fetched_row(thread / kLanes);
  WindowPlace places[kFetches];
  for (int i = 0; i < kFetches; ++i) {
    const int window = window0 + first_row + i * kRowsAtOnce;
    places[i] = window < count ? window_index(windows, window).place(windows) : WindowPlace{-1, 0, 0};
  }
  int term = thread % kLanes * kVector;
  TapPlace tap = tap_place(windows, term);
  const auto fetch_tiles = [&](int stage) {
    for (int i = 0; i < kFetches; ++i) {
      const int row = first_row + i * kRowsAtOnce, channel = channel0 + row;
      const int offset = row * kRow + thread % kLanes * kVector;
      fetch<kVector>(tile_of(stage, 0) + offset, value_read(windows, picture, places[i], tap), picture);
      const bool inside = channel < out.channels && term < length;
      fetch<kVector>(tile_of(stage, 1) + offset,
                     inside ? weight + static_cast<int64_t>(channel) * length + term : nullptr, weight);
    }
    term += kStep;
    tap.advance(windows, kStep);
  };

  const int y = thread / 16, x = thread % 16, steps = (length + kStep - 1) / kStep;
  float sums[kPerThread][kPerThread] = {};
  for (int step = 0; step < kStages - 1; ++step) {
    fetch_tiles(step);
    async_commit();
  }
  for (int step = 0; step < steps; ++step) {
    async_wait<kStages - 2>();
    __syncthreads();
    if (step + kStages - 1 < steps) fetch_tiles((step + kStages - 1) % kStages);
    async_commit();
    const float* const rows = tile_of(step % kStages, 0) + y * kRow;
    const float* const columns = tile_of(step % kStages, 1) + x * kRow;
    for (int k = 0; k < kStep; k += 4) {
      float4 a[kPerThread];
      for (int i = 0; i < kPerThread; ++i) a[i] = load(reinterpret_cast<const float4*>(rows + i * 16 * kRow + k));
      for (int j = 0; j < kPerThread; ++j) {
        const float4 b = load(reinterpret_cast<const float4*>(columns + j * 16 * kRow + k));
        for (int i = 0; i < kPerThread; ++i) sums[i][j] = add_products(a[i], b, sums[i][j]);
      }
    }
  }

  MINIDL_UNROLL
  for (int j = 0; j < kPerThread; ++j) {
    const int channel = channel0 + x + 16 * j;
    const float bias = out.bias && channel < out.channels ? load(out.bias + channel) : 0.0f;
    MINIDL_UNROLL
    for (int i = 0; i < kPerThread; ++i) {
      sums[i][j] *= out.scale;
      if (out.bias) sums[i][j] += bias;
    }
  }
  MINIDL_UNROLL
  for (int i = 0; i < kPerThread; ++i) {
    const int window = window0 + y + 16 * i;
    const auto [n, h, w] = window_index(windows, window);
    const int64_t pixel = (static_cast<int64_t>(n) * out.out_h + h * out.out_stride_h + out.out_begin_h) * out.out_w +
                          w * out.out_stride_w + out.out_begin_w;
    MINIDL_UNROLL
    for (int j = 0; j < kPerThread; ++j) {
      const int channel = channel0 + x + 16 * j;
      write_result(out, window < count && channel < out.channels, pixel, channel, sums[i][j]);
    }
  }
}

template <int kTile, int kVector>
void launch_tiles(const Windows& windows, const float* picture, const float* weight, const GatherOutput& output,
                  cudaStream_t stream) {
  const dim3 grid(blocks_for(windows.count(), kTile), blocks_for(output.channels, kTile));
  MINIDL_LAUNCH((gather_product_kernel<kTile, kVector>), grid, kThreads, kShared<kTile>, stream, windows,
                static_cast<int>(windows.count()), static_cast<int>(windows.length()), picture, weight, output);
}

}  // namespace

void gather_product(const Windows& windows, const float* picture, const float* weight, const GatherOutput& output,
                    cudaStream_t stream) {
  constexpr int64_t kManyBlocks = 264;  // two for each multiprocessor of a large GPU
  if (windows.count() == 0) return;
  const int64_t large = int64_t{blocks_for(windows.count(), 128)} * blocks_for(output.channels, 128);
  const bool vectors = windows.in_c % 4 == 0 && is_aligned(picture) && is_aligned(weight);
  const auto launch = !vectors                                       ? launch_tiles<64, 1>
                      : output.channels > 64 && large >= kManyBlocks ? launch_tiles<128, 4>
                                                                     : launch_tiles<64, 4>;
  launch(windows, picture, weight, output, stream);
}

}  // namespace minidl::cuda
