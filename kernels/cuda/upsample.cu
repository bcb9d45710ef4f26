#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/cuda/map.cuh>

// Nearest-neighbour upsampling and its gradient. A thread does 4 neighbouring channels of a pixel (or one, see map.cuh)
// of the small picture: forward it writes the factor x factor pixels of the large one, backward it adds them up. Blocks
// of 256. Traffic: both pictures once.
namespace minidl::cuda {
namespace {

struct UpsampleSize {
  int64_t count;  // elements of the small picture
  int h, w, c;    // of it
  int factor;
};

/// Calls body(i) with the number of the first channel in each pixel of the large picture that element `at` of the small
/// one becomes.
template <typename Index, typename Body>
MINIDL_DEVICE void for_copies(const UpsampleSize& size, int64_t at, const Body& body) {
  const Element e = element_at<Index>(static_cast<Index>(at), size.h, size.w, size.c);
  const int64_t row = (e.n * size.h + e.row) * size.factor, width = int64_t{size.w} * size.factor;
  for (int r = 0; r < size.factor; ++r) {
    for (int s = 0; s < size.factor; ++s) {
      body(((row + r) * width + int64_t{e.column} * size.factor + s) * size.c + e.channel);
    }
  }
}

template <typename Index, int kWidth>
MINIDL_KERNEL(kMapThreads, upsample_forward_kernel, UpsampleSize size, const float* input, float* output) {
  const int64_t i = kWidth * (int64_t{blockIdx.x} * kMapThreads + threadIdx.x);
  if (i >= size.count) return;
  float values[kWidth];
  load_vector<kWidth>(input + i, values);
  for_copies<Index>(size, i, [&](int64_t copy) { store_vector<kWidth>(output + copy, values); });
}

template <typename Index, int kWidth>
MINIDL_KERNEL(kMapThreads, upsample_backward_kernel, UpsampleSize size, const float* grad_output, GradientOutput sink) {
  const int64_t i = kWidth * (int64_t{blockIdx.x} * kMapThreads + threadIdx.x);
  if (i >= size.count) return;
  float sums[kWidth] = {};
  for_copies<Index>(size, i, [&](int64_t copy) {
    float values[kWidth];
    load_vector<kWidth>(grad_output + copy, values);
    for (int k = 0; k < kWidth; ++k) sums[k] += values[k];
  });
  sink.write<kWidth>(i, sums);
}

UpsampleSize size_of(const Shape& shape, int64_t factor) {
  return {shape.count(), static_cast<int>(shape[1]), static_cast<int>(shape[2]), static_cast<int>(shape[3]),
          static_cast<int>(factor)};
}

}  // namespace

void upsample_nearest_forward(const Shape& shape, int64_t factor, const float* input, float* output) {
  const UpsampleSize size = size_of(shape, factor);
  if (size.count == 0) return;
  with_index_and_width(size.count, takes_vectors(size.c, {input, output}), [&](auto index, auto width) {
    MINIDL_LAUNCH((upsample_forward_kernel<decltype(index), width>), blocks_for(size.count, width * kMapThreads),
                  kMapThreads, 0, current_stream(), size, input, output);
  });
}

void upsample_nearest_backward(const Shape& shape, int64_t factor, const float* grad_output, const GradTarget& target) {
  const UpsampleSize size = size_of(shape, factor);
  if (size.count == 0) return;
  with_index_and_width(size.count, takes_vectors(size.c, {grad_output, target.grad}), [&](auto index, auto width) {
    MINIDL_LAUNCH((upsample_backward_kernel<decltype(index), width>), blocks_for(size.count, width * kMapThreads),
                  kMapThreads, 0, current_stream(), size, grad_output, GradientOutput{target});
  });
}

}  // namespace minidl::cuda
