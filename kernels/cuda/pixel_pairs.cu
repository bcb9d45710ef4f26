#include <minidl/core/cuda/backend.h>
#include <minidl/kernels/cuda/gather_mma.h>
#include <minidl/kernels/cuda/pixel_pairs.h>
#include <minidl/kernels/cuda/map.cuh>

// One element of a filter a thread. Traffic: the filters of pairs once, those of single windows twice.
namespace minidl::cuda {
namespace {

MINIDL_KERNEL(kMapThreads, paired_filters_kernel, int64_t count, int64_t k_w, int64_t in_c, const float* filters,
              float* paired) {
  const int64_t i = int64_t{blockIdx.x} * kMapThreads + threadIdx.x;
  if (i >= count) return;
  const int64_t c = i % in_c, s = i / in_c % (k_w + 1), row = i / in_c / (k_w + 1), rows = count / in_c / (k_w + 1) / 2;
  const bool second = row >= rows;
  const int64_t tap = second ? s - 1 : s, source = second ? row - rows : row;
  store(paired + i, tap >= 0 && tap < k_w ? load(filters + (source * k_w + tap) * in_c + c) : 0.0f);
}

}  // namespace

bool takes_pairs(const WindowProducts& products, const Windows& windows, int channels) {
  constexpr int kColumns = 8;  // of the narrowest tile
  // A window's NaN comes to its neighbour, too, by the tap of zeros: not in fp32.
  const bool strict = products.reads_values || &products == &products_tf32x3;
  return !strict && 2 * channels <= kColumns && windows.windows_w % 2 == 0 && windows.windows_w > 0 &&
         windows.stride_w == 1 && windows.k_h > 0 && windows.k_w < kMostMmaTaps;
}

Windows windows_of_pairs(Windows windows) {
  ++windows.k_w;
  windows.windows_w /= 2;
  windows.stride_w = 2;
  return windows;
}

GatherOutput output_of_pairs(GatherOutput output) {
  output.bias_channels = output.channels;
  output.channels *= 2;
  output.out_w /= 2;
  return output;
}

Tensor paired_filters(const float* filters, int64_t channels, int64_t k_h, int64_t k_w, int64_t in_c) {
  Tensor paired = Tensor::empty({2 * channels, k_h, k_w + 1, in_c}, Dtype::f32, current_device());
  if (paired.count() == 0) return paired;
  MINIDL_LAUNCH(paired_filters_kernel, blocks_for(paired.count(), kMapThreads), kMapThreads, 0, current_stream(),
                paired.count(), k_w, in_c, filters, paired.data<float>());
  return paired;
}

}  // namespace minidl::cuda
