#include <minidl/core/cuda/backend.h>
#include <minidl/core/tensor.h>
#include <minidl/kernels/cuda/mirrored_sums.h>
#include <minidl/kernels/cuda/rounded_results.h>
#include <minidl/kernels/cuda/window_products.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/execution.h>
#include <minidl/kernels/cuda/map.cuh>

#include <vector>

// Gram matrices: outer products of the features with themselves, tiles above the diagonal left out and mirrored
// (mirrored_sums.cu); their gradient: the features, as windows of one pixel, times a symmetric matrix. Below fp32 both
// are products of TF32: of 16-bit numbers, sums over a picture would keep too little. The gradient, whose sums are
// short, is one of bf16 where its operands were left so.
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

const WindowProducts& products_of(const GramShape& shape) {
  const bool tf32 = execution::precision() != Precision::fp32 && products_tf32.gathers(shape.positions, shape.c);
  return tf32 ? products_tf32 : products_simt;
}

constexpr int kTile = 32, kRows = 8;

/// output = x + its transpose, [n, c, c]. A block has a tile of 32 x 32 of one matrix, for which it turns the
/// tile on the other side of the diagonal in shared memory, so that all are accessed in rows. Grid (c / 32, c / 32, n),
/// blocks of 32 x 8.
MINIDL_KERNEL(kTile* kRows, add_transposed_kernel, int c, const float* x, float* output) {
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
    store(output + i, load(x + i) + load(&mirrored[column][row]));
  }
}

void check_range(const GramShape& shape) {
  MINIDL_CHECK(shape.positions <= INT32_MAX, "[gram] features have {} positions, a CUDA device takes 2^31 - 1",
               shape.positions);
}

/// The Gram matrices of pictures that are added and compared together.
class GramSums {
 public:
  /// Starts the products of one picture. `sum`: what becomes of it, but for the parts.
  void add(const GramShape& shape, const float* picture, MirroredSum sum) {
    check_range(shape);
    const WindowProducts& products = products_of(shape);
    const OuterProduct product{
        .windows = pixels_of(shape, products), .rows = static_cast<int>(shape.c), .symmetric = true};
    const Operand operand(products, picture, shape.positions, shape.c);
    const Tensor& parts =
        parts_.emplace_back(products.outer_parts(product, operand.data, operand.data, current_stream()));
    sum.partials = parts.data<float>();
    sum.parts = static_cast<int>(parts.shape()[0]);
    sum.rows = product.rows;
    sum.pitch = static_cast<int>(product.windows.length());
    sum.scale = shape.scale;
    sums_.push_back(sum);
  }
  void finish(double* squares) const { mirrored_sums(sums_, squares, current_stream()); }

 private:
  std::vector<Tensor> parts_;
  std::vector<MirroredSum> sums_;
};

/// Whether convolutions of the current precision may multiply by a difference, which is one matrix, and read it in
/// bf16.
bool is_read_in_bf16(const GramShape& shape) {
  return shape.n == 1 && shape.c % 8 == 0 && execution::precision() == Precision::bf16 &&
         products_bf16.gathers(shape.positions, shape.c);
}

/// Of one picture.
GatherOutput gradient_of(const GramShape& shape, const GradTarget& target) {
  return {.output = target.grad,
          .channels = static_cast<int>(shape.c),
          .out_h = 1,
          .out_w = static_cast<int>(shape.positions),
          .scale = shape.scale,
          .beta = target.beta,
          .mask = target.relu_mask};
}

/// Of operands that were left in bf16, as a convolution would add them; the gradient is left so, too. False where they
/// were not.
bool multiplied_in_bf16(const GramShape& shape, const GramGradientTensors& tensors, const GradTarget& target) {
  if (!is_read_in_bf16(shape)) return false;
  const WindowProducts& products = products_bf16;
  const Tensor features = operand_left(products, tensors.features, shape.positions, shape.c),
               matrix = operand_left(products, tensors.matrix, shape.c, shape.c);
  if (!features || !matrix) return false;
  RoundedResults rounded(products, &tensors.written, bool{target.relu_mask});
  GatherOutput output = gradient_of(shape, target);
  output.rounded = rounded.data();
  products.gather(pixels_of(shape, products), features.raw(), matrix.raw(), output, current_stream());
  rounded.keep();
  return true;
}

}  // namespace

void gram_forward(const GramShape& shape, const float* features, float* gram) {
  if (shape.c == 0) return;
  GramSums sums;
  for (int64_t n = 0; n < shape.n; ++n)
    sums.add(shape, features + n * shape.positions * shape.c, {.output = gram + n * shape.c * shape.c});
  sums.finish(nullptr);
}

std::vector<Number> gram_differences(std::span<const GramDifferenceArrays> terms) {
  GramSums sums;
  std::vector<RoundedResults> rounded;
  std::vector<Number> results;
  Tensor squares = Tensor::empty({std::ssize(terms)}, Dtype::f64, current_device());
  int number = 0;  // of terms that are not empty
  for (const GramDifferenceArrays& term : terms) {
    const GramShape& shape = term.shape;
    const int64_t count = shape.c * shape.c;
    if (shape.n == 0 || count == 0) {
      results.emplace_back(0.0);
      continue;
    }
    rounded.emplace_back(products_bf16, is_read_in_bf16(shape) ? term.written : nullptr, true);
    for (int64_t n = 0; n < shape.n; ++n) {
      sums.add(shape, term.features + n * shape.positions * shape.c,
               {.target = term.target + n * term.apart,
                .factor = term.factor,
                .term = number,
                .output = term.difference + n * count,
                .rounded = rounded.back().data()});
    }
    results.emplace_back(squares.slice(number, number + 1));
    ++number;
  }
  sums.finish(squares.data<double>());
  for (const RoundedResults& matrix : rounded) matrix.keep();
  return results;
}

void add_transposed(int64_t n, int64_t c, const float* x, float* output) {
  if (n == 0 || c == 0) return;
  MINIDL_CHECK(n <= kMostBlocksAcross, "[gram] {} matrices at once are too many: a CUDA device takes {}", n,
               kMostBlocksAcross);
  const unsigned tiles = blocks_for(c, kTile);
  MINIDL_LAUNCH(add_transposed_kernel, dim3(tiles, tiles, static_cast<unsigned>(n)), dim3(kTile, kRows), 0,
                current_stream(), static_cast<int>(c), x, output);
}

void gram_backward_symmetric(const GramShape& shape, const GramGradientTensors& tensors, const GradTarget& target) {
  check_range(shape);
  if (shape.c == 0 || shape.positions == 0 || multiplied_in_bf16(shape, tensors, target)) return;
  const auto *const features = tensors.features.data<float>(), *const matrix = tensors.matrix.data<float>();
  const WindowProducts& products = products_of(shape);
  for (int64_t n = 0; n < shape.n; ++n) {
    const int64_t at = n * shape.positions * shape.c;
    const Operand picture(products, features + at, shape.positions, shape.c),
        coefficients(products, matrix + n * shape.c * shape.c, shape.c, shape.c);
    products.gather(pixels_of(shape, products), picture.data, coefficients.data, gradient_of(shape, target.from(at)),
                    current_stream());
  }
}

}  // namespace minidl::cuda
