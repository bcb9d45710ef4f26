#include <minidl/kernels/cuda/pack_weight.h>
#include <minidl/core/cuda/launch.cuh>

// A transposition [out_c, in_c] -> [in_c, out_c] for each tap, by tiles of 32 x 32 in shared memory, so that both sides
// are accessed in rows. Grid (in_c / 32, out_c / 32, taps), blocks of 32 x 8. Traffic: the taps once in and once out.
namespace minidl::cuda {
namespace {

constexpr int kTile = 32, kRows = 8;

MINIDL_KERNEL(kTile* kRows, pack_reversed_kernel, Taps taps, const float* weight, float* packed) {
  MINIDL_SHARED(float, tile, [kTile][kTile + 1]);
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const int c0 = static_cast<int>(blockIdx.x) * kTile, k0 = static_cast<int>(blockIdx.y) * kTile;
  const int i = static_cast<int>(blockIdx.z) / taps.count_w, j = static_cast<int>(blockIdx.z) % taps.count_w;
  const int r = taps.first_h + taps.step_h * (taps.count_h - 1 - i);
  const int s = taps.first_w + taps.step_w * (taps.count_w - 1 - j);
  for (int row = y; row < kTile; row += kRows) {
    const int k = k0 + row, c = c0 + x;
    if (k >= taps.out_c || c >= taps.in_c) continue;
    store(&tile[row][x], load(weight + ((static_cast<int64_t>(k) * taps.k_h + r) * taps.k_w + s) * taps.in_c + c));
  }
  __syncthreads();
  for (int row = y; row < kTile; row += kRows) {
    const int k = k0 + x, c = c0 + row;
    if (k >= taps.out_c || c >= taps.in_c) continue;
    store(packed + ((static_cast<int64_t>(c) * taps.count_h + i) * taps.count_w + j) * taps.out_c + k,
          load(&tile[x][row]));
  }
}

}  // namespace

void pack_reversed(const Taps& taps, const float* weight, float* packed, cudaStream_t stream) {
  if (taps.count_h == 0 || taps.count_w == 0) return;
  const dim3 grid(blocks_for(taps.in_c, kTile), blocks_for(taps.out_c, kTile),
                  static_cast<unsigned>(taps.count_h * taps.count_w));
  MINIDL_LAUNCH(pack_reversed_kernel, grid, dim3(kTile, kRows), 0, stream, taps, weight, packed);
}

}  // namespace minidl::cuda
