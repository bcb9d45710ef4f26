#include <minidl/core/cuda/stream.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/core/cuda/launch.cuh>

// The two triangular systems of L-BFGS, of the size of its history, in one block: a step for each unknown, which all
// threads take out of the equations that are left, so that each equation is added up in the order of the CPU. Right
// sides and the diagonal lie in shared memory, 16 bytes a pair. Grid 1, blocks of 128. Traffic: half of the matrix.
namespace minidl::cuda {
namespace {

constexpr int kThreads = 128;

size_t shared_bytes(int64_t pairs) {
  return sizeof(double) * 2 * static_cast<size_t>(pairs);
}

MINIDL_KERNEL(kThreads, lbfgs_first_loop_kernel, int pairs, int64_t pitch, const double* columns, double* a) {
  MINIDL_DYNAMIC_SHARED(double, right);
  double* const diagonal = right + pairs;
  const int thread = static_cast<int>(threadIdx.x);
  for (int j = thread; j < pairs; j += kThreads) {
    store(right + j, load(a + j));
    store(diagonal + j, load(columns + j * pitch + j));
  }
  __syncthreads();
  for (int j = pairs - 1; j > 0; --j) {
    const double solved = load(right + j) / load(diagonal + j);
    for (int i = thread; i < j; i += kThreads) {
      store(right + i, load(right + i) - solved * load(columns + j * pitch + i));
    }
    __syncthreads();
  }
  for (int j = thread; j < pairs; j += kThreads) store(a + j, load(right + j) / load(diagonal + j));
}

MINIDL_KERNEL(kThreads, lbfgs_second_loop_kernel, int pairs, int64_t pitch, const double* columns, const double* a,
              double* b) {
  MINIDL_DYNAMIC_SHARED(double, right);
  double* const diagonal = right + pairs;
  const int thread = static_cast<int>(threadIdx.x);
  for (int j = thread; j < pairs; j += kThreads) {
    const double of_diagonal = load(columns + j * pitch + j);
    store(diagonal + j, of_diagonal);
    store(right + j, -of_diagonal * load(a + j) - load(b + j));
  }
  __syncthreads();
  for (int i = 0; i < pairs - 1; ++i) {
    const double solved = load(right + i) / load(diagonal + i);
    for (int j = i + 1 + thread; j < pairs; j += kThreads) {
      store(right + j, load(right + j) - solved * load(columns + j * pitch + i));
    }
    __syncthreads();
  }
  for (int j = thread; j < pairs; j += kThreads) store(b + j, load(right + j) / load(diagonal + j));
}

}  // namespace

void lbfgs_first_loop(int64_t pairs, int64_t pitch, const double* columns, double* a) {
  MINIDL_LAUNCH(lbfgs_first_loop_kernel, 1, kThreads, shared_bytes(pairs), current_stream(), static_cast<int>(pairs),
                pitch, columns, a);
}

void lbfgs_second_loop(int64_t pairs, int64_t pitch, const double* columns, const double* a, double* b) {
  MINIDL_LAUNCH(lbfgs_second_loop_kernel, 1, kThreads, shared_bytes(pairs), current_stream(), static_cast<int>(pairs),
                pitch, columns, a, b);
}

}  // namespace minidl::cuda
