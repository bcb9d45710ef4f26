#include <minidl/core/cuda/backend.h>
#include <minidl/core/tensor.h>
#include <minidl/kernels/cuda/window_products.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/execution.h>
#include <minidl/kernels/cuda/map.cuh>

// Gram matrices: outer products of the features with themselves, tiles above the diagonal left out and mirrored; their
// gradient: the features, as windows of one pixel, times a symmetric matrix. Below fp32 both are products of TF32: of
// 16-bit numbers, sums over a picture would keep too little.
namespace minidl::cuda {
namespace {

/// A picture of `positions` pixels in a row, with windows of one pixel.
Windows pixels_of(const GramShape& shape, const WindowProducts& products) {
  const auto positions = static_cast<int>(shape.positions);
  return {.n = 1,
          .in_h = 1,
          .in_w = positions,
          .in_c = static_cast<int>(products.channels(shape.c)),
          .windows_h = 1,
          .windows_w = positions};
}

const WindowProducts& products_now() {
  return execution::precision() == Precision::fp32 ? products_simt : products_tf32;
}

constexpr int kTile = 32, kRows = 8;

/// output = scale * (x + its transpose), [n, c, c]. A block has a tile of 32 x 32 of one matrix, for which it turns the
/// tile on the other side of the diagonal in shared memory, so that all are accessed in rows. Grid (c / 32, c / 32, n),
/// blocks of 32 x 8.
MINIDL_KERNEL(kTile* kRows, add_transposed_kernel, int c, float scale, const float* x, float* output) {
  MINIDL_SHARED(float, mirrored, [kTile][kTile + 1]);
  const int column = static_cast<int>(threadIdx.x), first = static_cast<int>(threadIdx.y);
  const int column0 = static_cast<int>(blockIdx.x) * kTile, row0 = static_cast<int>(blockIdx.y) * kTile;
  const int64_t matrix = int64_t{blockIdx.z} * c * c;
  for (int row = first; row < kTile; row += kRows) {
    if (column0 + row >= c || row0 + column >= c) continue;
    store(&mirrored[row][column], load(x + matrix + int64_t{column0 + row} * c + row0 + column));
  }
  __syncthreads();
  for (int row = first; row < kTile; row += kRows) {
    if (row0 + row >= c || column0 + column >= c) continue;
    const int64_t i = matrix + int64_t{row0 + row} * c + column0 + column;
    store(output + i, scale * (load(x + i) + load(&mirrored[column][row])));
  }
}

void check_range(const GramShape& shape) {
  MINIDL_CHECK(shape.positions <= INT32_MAX, "[gram] features have {} positions, a CUDA device takes 2^31 - 1",
               shape.positions);
}

}  // namespace

void gram_forward(const GramShape& shape, const float* features, float* gram) {
  check_range(shape);
  const WindowProducts& products = products_now();
  const OuterProduct product{.windows = pixels_of(shape, products),
                             .rows = static_cast<int>(shape.c),
                             .scale = shape.scale,
                             .symmetric = true};
  for (int64_t n = 0; n < shape.n; ++n) {
    const Operand picture(products, features + n * shape.positions * shape.c, shape.positions, shape.c);
    products.outer(product, picture.data, picture.data, static_cast<int>(shape.c), gram + n * shape.c * shape.c,
                   current_stream());
  }
}

void gram_backward(const GramShape& shape, const float* features, const float* grad_gram, const GradTarget& target) {
  check_range(shape);
  const int64_t count = shape.n * shape.c * shape.c;
  if (count == 0 || shape.positions == 0) return;
  Tensor symmetric = Tensor::empty({count}, Dtype::f32, current_device());
  const unsigned tiles = blocks_for(shape.c, kTile);
  MINIDL_LAUNCH(add_transposed_kernel, dim3(tiles, tiles, static_cast<unsigned>(shape.n)), dim3(kTile, kRows), 0,
                current_stream(), static_cast<int>(shape.c), shape.scale, grad_gram, symmetric.data<float>());
  const WindowProducts& products = products_now();
  for (int64_t n = 0; n < shape.n; ++n) {
    const int64_t at = n * shape.positions * shape.c;
    const Operand picture(products, features + at, shape.positions, shape.c),
        matrix(products, symmetric.data<float>() + n * shape.c * shape.c, shape.c, shape.c);
    const GradTarget part = target.from(at);
    const GatherOutput output{.output = part.grad,
                              .channels = static_cast<int>(shape.c),
                              .out_h = 1,
                              .out_w = static_cast<int>(shape.positions),
                              .beta = part.beta,
                              .mask = part.relu_mask};
    products.gather(pixels_of(shape, products), picture.data, matrix.data, output, current_stream());
  }
}

}  // namespace minidl::cuda
