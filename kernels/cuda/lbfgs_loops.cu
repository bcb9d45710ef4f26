#include <minidl/kernels/checks.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/cuda/products.cuh>

// The two loops of L-BFGS: products of the vectors (products.cuh), then a triangular system of the size of the history
// in the block that is the last one: a step for each unknown, which all threads take out of the equations that are
// left, so that each equation is added up in the order of the CPU. Right sides and the diagonal lie in shared memory, 16
// bytes a pair. Traffic: the vectors once, half of the matrix.
namespace minidl::cuda {
namespace {

/// Up to 48 KiB are there without asking, and launches ask for more when the dynamic part alone is larger: with the
/// static one it must not be a little less.
size_t shared_bytes(int64_t pairs) {
  constexpr size_t kUnasked = 48 << 10, kStatic = 1 << 10;
  const size_t bytes = sizeof(double) * 2 * static_cast<size_t>(pairs);
  return bytes + kStatic > kUnasked ? std::max(bytes, kUnasked + 1) : bytes;
}

/// Of `products` [2, pairs] or [1, pairs]: a system with the first row on its right side. The second row, if there is
/// one, is the last column.
struct FirstLoop {
  static constexpr bool kIsThere = true;
  int pairs;
  bool has_column;
  int64_t pitch;
  const double* products;
  double *columns, *a;

  MINIDL_DEVICE void operator()() const {
    MINIDL_DYNAMIC_SHARED(double, right);
    double* const diagonal = right + pairs;
    const int thread = static_cast<int>(threadIdx.x);
    for (int j = thread; has_column && j < pairs; j += kReduceThreads) {
      store(columns + (pairs - 1) * pitch + j, load(products + pairs + j));
    }
    for (int j = thread; j < pairs; j += kReduceThreads) {
      store(right + j, load(products + j));
      store(diagonal + j, load(columns + j * pitch + j));
    }
    __syncthreads();
    for (int j = pairs - 1; j > 0; --j) {
      const double solved = load(right + j) / load(diagonal + j);
      for (int i = thread; i < j; i += kReduceThreads) {
        store(right + i, load(right + i) - solved * load(columns + j * pitch + i));
      }
      __syncthreads();
    }
    for (int j = thread; j < pairs; j += kReduceThreads) store(a + j, load(right + j) / load(diagonal + j));
  }
};

/// b has the products before.
struct SecondLoop {
  static constexpr bool kIsThere = true;
  int pairs;
  int64_t pitch;
  const double *columns, *a;
  double* b;

  MINIDL_DEVICE void operator()() const {
    MINIDL_DYNAMIC_SHARED(double, right);
    double* const diagonal = right + pairs;
    const int thread = static_cast<int>(threadIdx.x);
    for (int j = thread; j < pairs; j += kReduceThreads) {
      const double of_diagonal = load(columns + j * pitch + j);
      store(diagonal + j, of_diagonal);
      store(right + j, -of_diagonal * load(a + j) - load(b + j));
    }
    __syncthreads();
    for (int i = 0; i < pairs - 1; ++i) {
      const double solved = load(right + i) / load(diagonal + i);
      for (int j = i + 1 + thread; j < pairs; j += kReduceThreads) {
        store(right + j, load(right + j) - solved * load(columns + j * pitch + i));
      }
      __syncthreads();
    }
    for (int j = thread; j < pairs; j += kReduceThreads) store(b + j, load(right + j) / load(diagonal + j));
  }
};

/// output[j, i] = x[i]'y[j], then `loop`.
template <typename Loop>
void products_and(std::span<const Tensor> x, std::span<const float* const> y, double* output, const Loop& loop) {
  with_pointers(x, [&]<typename T>(const std::vector<const T*>& vectors) {
    products<T>(x.front().count(), vectors, y, output, loop, shared_bytes(std::ssize(x)));
  });
}

}  // namespace

void lbfgs_first_loop(std::span<const Tensor> s, const float* gradient, const float* newest_y, int64_t pitch,
                      double* columns, double* a) {
  const auto pairs = std::ssize(s);
  const float* const vectors[] = {gradient, newest_y};
  Tensor both = Tensor::empty({2, pairs}, Dtype::f64, current_device());
  auto* const of_vectors = both.data<double>();
  products_and(s, std::span(vectors).first(newest_y ? 2 : 1), of_vectors,
               FirstLoop{static_cast<int>(pairs), newest_y != nullptr, pitch, of_vectors, columns, a});
}

void lbfgs_second_loop(std::span<const Tensor> y, const float* r, int64_t pitch, const double* columns, const double* a,
                       double* b) {
  products_and(y, {&r, 1}, b, SecondLoop{static_cast<int>(std::ssize(y)), pitch, columns, a, b});
}

}  // namespace minidl::cuda
