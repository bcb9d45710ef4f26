#include <minidl/core/cuda/stream.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/core/cuda/launch.cuh>

// The two triangular systems of L-BFGS, of the size of its history, in one block: a step for each unknown, which all
// threads take out of the equations that are left, so that each equation is added up in the order of the CPU. Grid 1,
// blocks of 128. Traffic: half of the matrix.
namespace minidl::cuda {
namespace {

constexpr int kThreads = 128;

MINIDL_KERNEL(kThreads, lbfgs_first_loop_kernel, int pairs, int64_t pitch, const double* columns, double* a) {
  for (int j = pairs - 1; j >= 0; --j) {
    const double* const column = columns + j * pitch;
    const double solved = load(a + j) / load(column + j);
    for (int i = static_cast<int>(threadIdx.x); i < j; i += kThreads) {
      store(a + i, load(a + i) - solved * load(column + i));
    }
    __syncthreads();
    if (threadIdx.x == 0) store(a + j, solved);
  }
}

MINIDL_KERNEL(kThreads, lbfgs_second_loop_kernel, int pairs, int64_t pitch, const double* columns, const double* a,
              double* b) {
  for (int j = static_cast<int>(threadIdx.x); j < pairs; j += kThreads) {
    store(b + j, -load(columns + j * pitch + j) * load(a + j) - load(b + j));
  }
  __syncthreads();
  for (int i = 0; i < pairs; ++i) {
    const double solved = load(b + i) / load(columns + i * pitch + i);
    for (int j = i + 1 + static_cast<int>(threadIdx.x); j < pairs; j += kThreads) {
      store(b + j, load(b + j) - solved * load(columns + j * pitch + i));
    }
    __syncthreads();
    if (threadIdx.x == 0) store(b + i, solved);
  }
}

}  // namespace

void lbfgs_first_loop(int64_t pairs, int64_t pitch, const double* columns, double* a) {
  MINIDL_LAUNCH(lbfgs_first_loop_kernel, 1, kThreads, 0, current_stream(), static_cast<int>(pairs), pitch, columns, a);
}

void lbfgs_second_loop(int64_t pairs, int64_t pitch, const double* columns, const double* a, double* b) {
  MINIDL_LAUNCH(lbfgs_second_loop_kernel, 1, kThreads, 0, current_stream(), static_cast<int>(pairs), pitch, columns, a,
                b);
}

}  // namespace minidl::cuda
