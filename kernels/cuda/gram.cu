#include <minidl/core/cuda/backend.h>
#include <minidl/core/tensor.h>
#include <minidl/kernels/cuda/outer_product.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/cuda/map.cuh>

// Gram matrices: outer products of the features with themselves, tiles above the diagonal left out and mirrored; their
// gradient: the features, as windows of one pixel, times a symmetric matrix.
namespace minidl::cuda {
namespace {

/// A picture of `positions` pixels in a row, with windows of one pixel.
Windows pixels_of(const GramShape& shape) {
  const auto positions = static_cast<int>(shape.positions);
  return {
      .n = 1, .in_h = 1, .in_w = positions, .in_c = static_cast<int>(shape.c), .windows_h = 1, .windows_w = positions};
}

/// output = scale * (x + its transpose), [n, c, c]. One element a thread.
MINIDL_KERNEL(kMapThreads, add_transposed_kernel, int64_t count, int64_t c, float scale, const float* x,
              float* output) {
  const int64_t i = int64_t{blockIdx.x} * kMapThreads + threadIdx.x;
  if (i >= count) return;
  const int64_t matrix = i / (c * c) * (c * c), row = i % (c * c) / c, column = i % c;
  store(output + i, scale * (load(x + i) + load(x + matrix + column * c + row)));
}

void check_range(const GramShape& shape) {
  MINIDL_CHECK(shape.positions <= INT32_MAX, "[gram] features have {} positions, a CUDA device takes 2^31 - 1",
               shape.positions);
}

}  // namespace

void gram_forward(const GramShape& shape, const float* features, float* gram) {
  check_range(shape);
  const OuterProduct product{
      .windows = pixels_of(shape), .rows = static_cast<int>(shape.c), .scale = shape.scale, .symmetric = true};
  for (int64_t n = 0; n < shape.n; ++n) {
    const float* picture = features + n * shape.positions * shape.c;
    outer_product(product, picture, picture, gram + n * shape.c * shape.c, current_stream());
  }
}

void gram_backward(const GramShape& shape, const float* features, const float* grad_gram, const GradTarget& target) {
  check_range(shape);
  const int64_t count = shape.n * shape.c * shape.c;
  if (count == 0 || shape.positions == 0) return;
  Tensor symmetric = Tensor::empty({count}, Dtype::f32, current_device());
  MINIDL_LAUNCH(add_transposed_kernel, blocks_for(count, kMapThreads), kMapThreads, 0, current_stream(), count, shape.c,
                shape.scale, grad_gram, symmetric.data<float>());
  for (int64_t n = 0; n < shape.n; ++n) {
    const int64_t at = n * shape.positions * shape.c;
    const GradTarget part = target.from(at);
    const GatherOutput output{.output = part.grad,
                              .channels = static_cast<int>(shape.c),
                              .out_h = 1,
                              .out_w = static_cast<int>(shape.positions),
                              .beta = part.beta,
                              .mask = part.relu_mask};
    gather_product(pixels_of(shape), features + at, symmetric.data<float>() + n * shape.c * shape.c, output,
                   current_stream());
  }
}

}  // namespace minidl::cuda
