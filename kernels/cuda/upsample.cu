#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/cuda/map.cuh>

// Nearest-neighbour upsampling and its gradient. A thread does 4 neighbouring channels of a pixel (or one, see
// map.cuh): of the large picture forward, of the small one backward, where it adds up the factor x factor pixels.
// Blocks of 256. Traffic: both pictures once.
namespace minidl::cuda {
namespace {

struct UpsampleSize {
  int64_t count;  // elements that threads write
  int h, w, c;    // of the small picture
  int factor;
};

template <typename Index, int kWidth>
MINIDL_KERNEL(kMapThreads, upsample_forward_kernel, UpsampleSize size, const float* input, float* output) {
  const int64_t i = kWidth * (int64_t{blockIdx.x} * kMapThreads + threadIdx.x);
  if (i >= size.count) return;
  const Element e = element_at<Index>(static_cast<Index>(i), size.h * size.factor, size.w * size.factor, size.c);
  float values[kWidth];
  load_vector<kWidth>(
      input + ((e.n * size.h + e.row / size.factor) * size.w + e.column / size.factor) * size.c + e.channel, values);
  store_vector<kWidth>(output + i, values);
}

template <typename Index, int kWidth>
MINIDL_KERNEL(kMapThreads, upsample_backward_kernel, UpsampleSize size, const float* grad_output, GradientOutput sink) {
  const int64_t i = kWidth * (int64_t{blockIdx.x} * kMapThreads + threadIdx.x);
  if (i >= size.count) return;
  const Element e = element_at<Index>(static_cast<Index>(i), size.h, size.w, size.c);
  const int64_t row = (e.n * size.h + e.row) * size.factor, width = int64_t{size.w} * size.factor;
  float sums[kWidth] = {};
  for (int r = 0; r < size.factor; ++r) {
    for (int s = 0; s < size.factor; ++s) {
      float values[kWidth];
      load_vector<kWidth>(grad_output + ((row + r) * width + int64_t{e.column} * size.factor + s) * size.c + e.channel,
                          values);
      for (int k = 0; k < kWidth; ++k) sums[k] += values[k];
    }
  }
  sink.write<kWidth>(i, sums);
}

UpsampleSize size_of(const Shape& shape, int64_t factor, int64_t count) {
  return {count, static_cast<int>(shape[1]), static_cast<int>(shape[2]), static_cast<int>(shape[3]),
          static_cast<int>(factor)};
}

}  // namespace

void upsample_nearest_forward(const Shape& shape, int64_t factor, const float* input, float* output) {
  const UpsampleSize size = size_of(shape, factor, shape.count() * factor * factor);
  if (size.count == 0) return;
  with_index_and_width(size.count, takes_vectors(size.c, {input, output}), [&](auto index, auto width) {
    MINIDL_LAUNCH((upsample_forward_kernel<decltype(index), width>), blocks_for(size.count, width * kMapThreads),
                  kMapThreads, 0, current_stream(), size, input, output);
  });
}

void upsample_nearest_backward(const Shape& shape, int64_t factor, const float* grad_output, const GradTarget& target) {
  const UpsampleSize size = size_of(shape, factor, shape.count());
  if (size.count == 0) return;
  with_index_and_width(size.count, takes_vectors(size.c, {grad_output, target.grad}), [&](auto index, auto width) {
    MINIDL_LAUNCH((upsample_backward_kernel<decltype(index), width>), blocks_for(size.count, width * kMapThreads),
                  kMapThreads, 0, current_stream(), size, grad_output, GradientOutput{target});
  });
}

}  // namespace minidl::cuda
