#include <minidl/core/cuda/backend.h>
#include <minidl/core/tensor.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/cuda/map.cuh>

#include <algorithm>

// Means over square windows: sums along columns in f64, then sums of these along rows. One element a thread, which adds
// 2 * reach + 1 neighbours that come from caches. Traffic: input and output once, the sums in between in and out,
// and what the mean is added to.
namespace minidl::cuda {
namespace {

struct BoxSize {
  int64_t count;
  int64_t h, w, c;
  int64_t reach;  // pixels on each side
};

MINIDL_KERNEL(kMapThreads, column_sums_kernel, BoxSize size, const float* input, double* sums) {
  const int64_t i = int64_t{blockIdx.x} * kMapThreads + threadIdx.x;
  if (i >= size.count) return;
  const int64_t line = size.w * size.c, row = i / line % size.h;
  const int64_t first = max(row - size.reach, int64_t{0}), last = min(row + size.reach, size.h - 1);
  double sum = 0.0;
  for (int64_t y = first; y <= last; ++y) sum += static_cast<double>(load(input + i + (y - row) * line));
  store(sums + i, sum);
}

MINIDL_KERNEL(kMapThreads, row_sums_kernel, BoxSize size, double scale, const double* sums, AddedTo added,
              float* output) {
  const int64_t i = int64_t{blockIdx.x} * kMapThreads + threadIdx.x;
  if (i >= size.count) return;
  const int64_t column = i / size.c % size.w;
  const int64_t first = max(column - size.reach, int64_t{0}), last = min(column + size.reach, size.w - 1);
  double sum = 0.0;
  for (int64_t x = first; x <= last; ++x) sum += load(sums + i + (x - column) * size.c);
  const float mean = static_cast<float>(scale * sum);
  store(output + i, added.x ? load(added.x + i) + added.factor * mean : mean);
}

}  // namespace

void box_mean(const Shape& shape, int64_t width, const float* input, const AddedTo& added, float* output) {
  if (shape.count() == 0) return;
  const int64_t reach = std::min(width / 2, std::max(shape[1], shape[2]));  // more pixels are all outside
  const BoxSize size{shape.count(), shape[1], shape[2], shape[3], reach};
  const double scale = 1.0 / (static_cast<double>(width) * static_cast<double>(width));
  Tensor sums = Tensor::empty(shape, Dtype::f64, current_device());
  const unsigned blocks = blocks_for(size.count, kMapThreads);
  MINIDL_LAUNCH(column_sums_kernel, blocks, kMapThreads, 0, current_stream(), size, input, sums.data<double>());
  MINIDL_LAUNCH(row_sums_kernel, blocks, kMapThreads, 0, current_stream(), size, scale, sums.data<double>(), added,
                output);
}

}  // namespace minidl::cuda
