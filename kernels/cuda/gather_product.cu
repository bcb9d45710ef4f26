#include <minidl/kernels/cuda/gather_output.cuh>

// Implicit GEMM: result (windows x channels) = windows (windows x length) * weight (channels x length) transposed, in
// fp32. A block computes kRows x kColumns results in steps of kStep terms: three tiles of each operand are under way in
// shared memory, [row][term] with terms side by side as they are in memory. A thread has every kRowLanes-th row and
// every kColumnLanes-th column and reads four terms of a row at a time; rows are kStep + 4 words apart, so that the
// eight lanes that are served together hit 32 different banks, as do the two rows that are written together. Tiles of
// 128 x 128 and 64 x 64, of 128 x 8 for few channels and 8 x 128 for few windows. Grid (windows / kRows, channels /
// kColumns), blocks of 256. Flops 2 * windows * channels * length; traffic of a block (kRows + kColumns) * length
// floats, the output once. Sums run along the terms in order, in fp32, so that all tiles give the same bytes.
namespace minidl::cuda {
namespace {

constexpr int kThreads = 256, kStep = 16, kRow = kStep + 4, kStages = 3;

template <int kRows, int kColumns>
constexpr size_t kShared = sizeof(float) * kStages*(kRows + kColumns) * kRow;

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
  const int64_t i = pixel * out.pitch + channel;
  if (inside) {
    result = finished(out, i, result);
    store(out.output + i, result);
  }
  if (!out.positive) return;
  const unsigned bits = __ballot_sync(0xffffffffu, result > 0.0f);
  const unsigned lane = threadIdx.x % 32;
  if (lane % 8 == 0 && inside) store(out.positive + i / 8, static_cast<uint8_t>(bits >> lane));
}

template <int kRows, int kColumns, int kVector>
MINIDL_KERNEL_RESIDENT(kThreads, (kRows == 128 || kVector == 1 ? 2 : 3), gather_product_kernel, Windows windows,
                       int count, int length, const float* picture, const float* weight, GatherOutput out) {
  constexpr int kLanes = kStep / kVector, kAtOnce = kThreads / kLanes;  // of a row; rows that are fetched together
  constexpr int kWindowFetches = (kRows + kAtOnce - 1) / kAtOnce, kWeightFetches = (kColumns + kAtOnce - 1) / kAtOnce;
  constexpr int kColumnLanes = kColumns == 8 ? 8 : kRows == 8 ? 32 : 16, kRowLanes = kThreads / kColumnLanes;
  constexpr int kThreadRows = kRows / kRowLanes, kThreadColumns = kColumns / kColumnLanes;
  MINIDL_DYNAMIC_SHARED(float, tiles);
  const int thread = static_cast<int>(threadIdx.x);
  const int window0 = static_cast<int>(blockIdx.x) * kRows, channel0 = static_cast<int>(blockIdx.y) * kColumns;
  const auto window_tile = [&](int stage) { return tiles + stage * (kRows + kColumns) * kRow; };
  const auto weight_tile = [&](int stage) { return window_tile(stage) + kRows * kRow; };

  const int first_row = fetched_row(thread / kLanes), lane = thread % kLanes * kVector;
  WindowPlace places[kWindowFetches];
  for (int i = 0; i < kWindowFetches; ++i) {
    places[i] = window_place(windows, window0 + first_row + i * kAtOnce, count);
  }
  int term = lane;
  TapPlace tap = tap_place(windows, term);
  const auto fetch_tiles = [&](int stage) {
    for (int i = 0; i < kWindowFetches; ++i) {
      const int row = first_row + i * kAtOnce;
      if (row >= kRows) break;
      fetch<kVector>(window_tile(stage) + row * kRow + lane, value_read(windows, picture, places[i], tap));
    }
    for (int i = 0; i < kWeightFetches; ++i) {
      const int row = first_row + i * kAtOnce, channel = channel0 + row;
      if (row >= kColumns) break;
      const bool inside = channel < out.channels && term < length;
      fetch<kVector>(weight_tile(stage) + row * kRow + lane,
                     inside ? weight + static_cast<int64_t>(channel) * length + term : nullptr);
    }
    term += kStep;
    tap.advance(windows, kStep);
  };

  const int y = thread / kColumnLanes, x = thread % kColumnLanes, steps = (length + kStep - 1) / kStep;
  float sums[kThreadRows][kThreadColumns] = {};
  for (int step = 0; step < kStages - 1; ++step) {
    fetch_tiles(step);
    async_commit();
  }
  for (int step = 0; step < steps; ++step) {
    async_wait<kStages - 2>();
    __syncthreads();
    if (step + kStages - 1 < steps) fetch_tiles((step + kStages - 1) % kStages);
    async_commit();
    const float* const rows = window_tile(step % kStages) + y * kRow;
    const float* const columns = weight_tile(step % kStages) + x * kRow;
    for (int k = 0; k < kStep / 4; ++k) {
      float4 a[kThreadRows];
      for (int i = 0; i < kThreadRows; ++i) {
        a[i] = load(reinterpret_cast<const float4*>(rows + i * kRowLanes * kRow + 4 * k));
      }
      for (int j = 0; j < kThreadColumns; ++j) {
        const float4 b = load(reinterpret_cast<const float4*>(columns + j * kColumnLanes * kRow + 4 * k));
        for (int i = 0; i < kThreadRows; ++i) sums[i][j] = add_products(a[i], b, sums[i][j]);
      }
    }
  }

  MINIDL_UNROLL
  for (int j = 0; j < kThreadColumns; ++j) {
    const int channel = channel0 + x + kColumnLanes * j;
    const float bias = bias_of(out, channel);
    MINIDL_UNROLL
    for (int i = 0; i < kThreadRows; ++i) sums[i][j] = sums[i][j] * out.scale + bias;
  }
  MINIDL_UNROLL
  for (int i = 0; i < kThreadRows; ++i) {
    const int window = window0 + y + kRowLanes * i;
    const int64_t pixel = pixel_written(out, 0, window_in_rows(windows, window));
    MINIDL_UNROLL
    for (int j = 0; j < kThreadColumns; ++j) {
      const int channel = channel0 + x + kColumnLanes * j;
      write_result(out, window < count && channel < out.channels, pixel, channel, sums[i][j]);
    }
  }
}

template <int kRows, int kColumns, int kVector>
void launch_tiles(const Windows& windows, const float* picture, const float* weight, const GatherOutput& output,
                  cudaStream_t stream) {
  const dim3 grid(blocks_for(windows.count(), kRows), blocks_for(output.channels, kColumns));
  MINIDL_LAUNCH((gather_product_kernel<kRows, kColumns, kVector>), grid, kThreads, (kShared<kRows, kColumns>), stream,
                windows, static_cast<int>(windows.count()), static_cast<int>(windows.length()), picture, weight,
                output);
}

}  // namespace

GatherTile gather_tile(int64_t windows, int64_t channels) {
  if (channels <= 8) return GatherTile::few_channels;
  if (windows <= 8) return GatherTile::few_windows;
  const int64_t large = divided_up(windows, 128) * divided_up(channels, 128);
  return channels > 64 && large >= kManyBlocks ? GatherTile::large : GatherTile::usual;
}

void gather_product(const Windows& windows, const float* picture, const float* weight, GatherOutput output,
                    cudaStream_t stream) {
  if (windows.count() == 0) return;
  if (output.pitch == 0) output.pitch = output.channels;
  if (output.tile == GatherTile::by_size) output.tile = gather_tile(windows.count(), output.channels);
  const bool vectors = windows.in_c % 4 == 0 && is_aligned(picture) && is_aligned(weight);
  const auto launch = [&] {
    switch (output.tile) {
      case GatherTile::few_channels:
        return vectors ? launch_tiles<128, 8, 4> : launch_tiles<128, 8, 1>;
      case GatherTile::few_windows:
        return vectors ? launch_tiles<8, 128, 4> : launch_tiles<8, 128, 1>;
      case GatherTile::large:
        return vectors ? launch_tiles<128, 128, 4> : launch_tiles<64, 64, 1>;
      default:
        return vectors ? launch_tiles<64, 64, 4> : launch_tiles<64, 64, 1>;
    }
  }();
  launch(windows, picture, weight, output, stream);
}

}  // namespace minidl::cuda
