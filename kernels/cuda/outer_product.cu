#include <minidl/core/cuda/backend.h>
#include <minidl/core/tensor.h>
#include <minidl/kernels/cuda/mirrored_sums.h>
#include <minidl/kernels/cuda/outer_product.h>
#include <minidl/kernels/cuda/map.cuh>
#include <minidl/kernels/cuda/windows.cuh>

#include <algorithm>

// result (rows x length) = rows (windows x rows) transposed * windows (windows x length), in fp32. A block computes
// kTile x kTile results over one part of the windows, in steps of kStep windows: three tiles of each operand are under
// way in shared memory, [window][column] with columns side by side as they are in memory. A thread has groups of four
// neighbouring rows and columns, 64 apart, which it reads as float4: eight lanes that are served together read 32
// neighbouring words, or the same four.
// Grid (length / kTile, rows / kTile, parts), blocks of 256. Flops 2 * rows * windows * length; traffic of a block
// 2 * kTile * windows of the part floats, rows * length floats for each part. A second kernel adds the parts.
namespace minidl::cuda {
namespace {

constexpr int kThreads = 256, kStep = 16, kStages = 3;

template <int kTile>
constexpr size_t kShared = sizeof(float) * kStages * 2 * kTile* kStep;

bool takes_four(const OuterProduct& product) {
  return product.windows.in_c % 4 == 0 && product.rows % 4 == 0;
}

/// How the windows are cut, by the sizes alone.
struct Parts {
  int windows, length;  // all of them
  int tile;
  int part, count;  // windows of a part, parts

  explicit Parts(const OuterProduct& product)
      : windows(static_cast<int>(product.windows.count())), length(static_cast<int>(product.windows.length())) {
    tile = std::min(product.rows, length) > 64 && takes_four(product) ? 128 : 64;
    const int64_t tiles = int64_t{blocks_for(length, tile)} * blocks_for(product.rows, tile);
    part = static_cast<int>(windows_of_part(windows, tiles));
    count = (windows + part - 1) / part;
  }
};

template <int kTile, int kVector>
MINIDL_KERNEL_RESIDENT(kThreads, (kTile == 64 ? 3 : 2), outer_product_kernel, OuterProduct product, Parts parts,
                       const float* rows, const float* picture, float* partials) {
  constexpr int kLanes = kTile / kVector, kAtOnce = kThreads / kLanes, kFetches = kStep / kAtOnce;
  constexpr int kGroups = kTile / 64, kPerThread = 4 * kGroups;
  MINIDL_DYNAMIC_SHARED(float, tiles);
  const int thread = static_cast<int>(threadIdx.x);
  const int column0 = static_cast<int>(blockIdx.x) * kTile, row0 = static_cast<int>(blockIdx.y) * kTile;
  if (product.symmetric && blockIdx.x > blockIdx.y) return;
  const int begin = static_cast<int>(blockIdx.z) * parts.part, count = min(parts.part, parts.windows - begin);
  const auto tile_of = [&](int stage, int operand) { return tiles + (stage * 2 + operand) * kTile * kStep; };

  const int lane = thread % kLanes * kVector, row = row0 + lane, column = column0 + lane;
  const TapPlace tap = tap_place(product.windows, column);
  WindowIndex windows[kFetches];
  for (int i = 0; i < kFetches; ++i) {
    windows[i] = window_index(product.windows, begin + thread / kLanes + i * kAtOnce);
  }
  const auto fetch_tiles = [&](int step, int stage) {
    for (int i = 0; i < kFetches; ++i) {
      const int place = thread / kLanes + i * kAtOnce, offset = place * kTile + lane;
      const float *left = nullptr, *right = nullptr;  // as beyond the last row and the last tap
      if (step * kStep + place < count) {
        if (row < product.rows) left = rows + int64_t{begin + step * kStep + place} * product.rows + row;
        right = value_read(product.windows, picture, windows[i].place(product.windows), tap);
      }
      fetch<kVector>(tile_of(stage, 0) + offset, left);
      fetch<kVector>(tile_of(stage, 1) + offset, right);
      windows[i].advance(product.windows, kStep);
    }
  };

  const int y = thread / 16 * 4, x = thread % 16 * 4, steps = (count + kStep - 1) / kStep;
  float sums[kPerThread][kPerThread] = {};
  for (int step = 0; step < kStages - 1; ++step) {
    fetch_tiles(step, step);
    async_commit();
  }
  for (int step = 0; step < steps; ++step) {
    async_wait<kStages - 2>();
    __syncthreads();
    if (step + kStages - 1 < steps) fetch_tiles(step + kStages - 1, (step + kStages - 1) % kStages);
    async_commit();
    const float* const left = tile_of(step % kStages, 0) + y;
    const float* const right = tile_of(step % kStages, 1) + x;
    for (int k = 0; k < kStep; ++k) {
      float a[kGroups][4], b[kGroups][4];
      for (int i = 0; i < kGroups; ++i) {
        load_vector<4>(left + k * kTile + i * 64, a[i]);
        load_vector<4>(right + k * kTile + i * 64, b[i]);
      }
      for (int i = 0; i < kPerThread; ++i) {
        for (int j = 0; j < kPerThread; ++j) {
          sums[i][j] = multiply_add(a[i / 4][i % 4], b[j / 4][j % 4], sums[i][j]);
        }
      }
    }
  }

  float* const partial = partials + int64_t{blockIdx.z} * product.rows * parts.length;
  for (int i = 0; i < kPerThread; ++i) {
    const int r = row0 + y + i / 4 * 64 + i % 4;
    if (r >= product.rows) continue;
    for (int j = 0; j < kPerThread; j += kVector) {
      const int c = column0 + x + j / 4 * 64 + j % 4;
      if (c >= parts.length) continue;
      float values[kVector];
      for (int k = 0; k < kVector; ++k) values[k] = sums[i][j + k];
      store_vector<kVector>(partial + static_cast<int64_t>(r) * parts.length + c, values);
    }
  }
}

constexpr int kSumThreads = 256;

/// The sums of all parts, partials [parts, rows, length].
struct Partials {
  const float* values;
  int parts;
  int64_t count;       // rows * length
  int in_c, padded_c;  // channels of the output and of a part

  /// Of one result, in order.
  MINIDL_DEVICE float sum(float scale, int64_t i) const {
    const int64_t source = in_c == padded_c ? i : i / in_c * padded_c + i % in_c;
    double sum = 0.0;
    for (int part = 0; part < parts; ++part) sum += static_cast<double>(load(values + part * count + source));
    return static_cast<float>(static_cast<double>(scale) * sum);
  }
};

MINIDL_KERNEL(kSumThreads, outer_product_sum_kernel, OuterProduct product, Partials partials, int64_t count,
              float* output) {
  const int64_t i = int64_t{blockIdx.x} * kSumThreads + threadIdx.x;
  if (i >= count) return;
  float result = partials.sum(product.scale, i);
  if (product.beta != 0.0f) result += product.beta * load(output + i);
  store(output + i, result);
}

template <int kTile, int kVector>
void launch_tiles(const OuterProduct& product, const Parts& parts, const float* rows, const float* picture,
                  float* partials, cudaStream_t stream) {
  const dim3 grid(blocks_for(parts.length, kTile), blocks_for(product.rows, kTile), static_cast<unsigned>(parts.count));
  MINIDL_LAUNCH((outer_product_kernel<kTile, kVector>), grid, kThreads, kShared<kTile>, stream, product, parts, rows,
                picture, partials);
}

}  // namespace

int64_t outer_product_workspace(const OuterProduct& product) {
  const Parts parts(product);
  return int64_t{sizeof(float)} * parts.count * product.rows * parts.length;
}

Tensor outer_product_parts(const OuterProduct& product, const float* rows, const float* picture, cudaStream_t stream) {
  const Parts parts(product);
  Tensor partials = Tensor::empty({parts.count, product.rows, parts.length}, Dtype::f32, current_device());
  if (partials.count() > 0) {
    const bool vectors = takes_four(product) && is_aligned(rows) && is_aligned(picture);
    const auto launch = !vectors ? launch_tiles<64, 1> : parts.tile == 128 ? launch_tiles<128, 4> : launch_tiles<64, 4>;
    launch(product, parts, rows, picture, partials.data<float>(), stream);
  }
  return partials;
}

void outer_product(const OuterProduct& product, const float* rows, const float* picture, float* output,
                   cudaStream_t stream) {
  const Tensor partials = outer_product_parts(product, rows, picture, stream);
  add_outer_parts(product, product.windows.in_c, partials, output, stream);
}

void add_outer_parts(const OuterProduct& product, int in_c, const Tensor& partials, float* output,
                     cudaStream_t stream) {
  const auto parts = static_cast<int>(partials.shape()[0]);
  if (product.symmetric) {
    MINIDL_CHECK(product.beta == 0.0f, "[cuda] nothing is added to a symmetric product");
    const MirroredSum sum{.partials = partials.data<float>(),
                          .parts = parts,
                          .rows = product.rows,
                          .pitch = static_cast<int>(product.windows.length()),
                          .scale = product.scale,
                          .output = output};
    return mirrored_sums({&sum, 1}, nullptr, stream);
  }
  const int64_t taps = int64_t{product.windows.k_h} * product.windows.k_w, count = product.rows * taps * in_c;
  if (count == 0) return;
  const Partials sums{partials.data<float>(), parts, product.rows * product.windows.length(), in_c,
                      product.windows.in_c};
  MINIDL_LAUNCH(outer_product_sum_kernel, blocks_for(count, kSumThreads), kSumThreads, 0, stream, product, sums, count,
                output);
}

}  // namespace minidl::cuda
