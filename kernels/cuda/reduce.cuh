#pragma once
// Sums (or maxima) of f(i) over i < count in f64: a block adds kReduceElements of them, each thread every
// kReduceThreads-th, the threads by halving; the last block of a row adds the blocks the same way. The order depends on
// `count` alone. Grid (blocks, rows): f(row, i). Traffic: what f reads, once.
#include <minidl/core/cuda/backend.h>
#include <minidl/core/cuda/stream.h>
#include <minidl/core/tensor.h>
#include <minidl/kernels/number.h>
#include <minidl/kernels/cuda/last_block.cuh>

#include <algorithm>
#include <cstdint>

namespace minidl::cuda {

inline constexpr int kReduceThreads = 256, kReduceElements = 16 * kReduceThreads;

struct Sum {
  MINIDL_DEVICE static double identity() { return 0.0; }
  MINIDL_DEVICE static double combine(double a, double b) { return a + b; }
};
/// Of numbers without a sign: their bits are in the order of the numbers, and those of NaN are above all.
struct Maximum {
  MINIDL_DEVICE static double identity() { return 0.0; }
  MINIDL_DEVICE static double combine(double a, double b) {
    return __longlong_as_double(max(__double_as_longlong(a), __double_as_longlong(b)));
  }
};

/// The values of all threads of a block of kReduceThreads. Between two calls for the same Operation a kernel has a
/// barrier.
template <typename Operation>
MINIDL_DEVICE double combine_block(double value) {
  MINIDL_SHARED(double, of_warp, [kReduceThreads / 32]);
  for (int offset = 16; offset > 0; offset /= 2) {
    value = Operation::combine(value, __shfl_down_sync(0xffffffffu, value, static_cast<unsigned>(offset)));
  }
  if (threadIdx.x % 32 == 0) store(&of_warp[threadIdx.x / 32], value);
  __syncthreads();
  double total = Operation::identity();
  for (int warp = 0; warp < kReduceThreads / 32; ++warp) total = Operation::combine(total, load(&of_warp[warp]));
  return total;
}

/// Of a launch over (blocks, rows): true in the block that writes its row's result, the last one of the row.
template <typename Operation, typename F>
MINIDL_DEVICE bool reduce_row(int64_t count, const F& f, double* partials, unsigned* arrived, double* results) {
  const int64_t begin = int64_t{blockIdx.x} * kReduceElements, row = blockIdx.y;
  const int64_t end = min(begin + kReduceElements, count);
  double value = Operation::identity();
  for (int64_t i = begin + threadIdx.x; i < end; i += kReduceThreads) value = Operation::combine(value, f(row, i));
  value = combine_block<Operation>(value);
  double* const of_row = partials + row * gridDim.x;
  if (threadIdx.x == 0) store(of_row + blockIdx.x, value);
  if (!is_last_block(arrived + row, gridDim.x)) return false;
  value = Operation::identity();
  for (unsigned i = threadIdx.x; i < gridDim.x; i += kReduceThreads) {
    value = Operation::combine(value, load(of_row + i));
  }
  value = combine_block<Operation>(value);
  if (threadIdx.x == 0) store(results + row, value);
  return true;
}

template <typename Operation, typename F>
MINIDL_KERNEL(kReduceThreads, reduce_kernel, int64_t count, F f, double* partials, unsigned* arrived, double* results) {
  reduce_row<Operation>(count, f, partials, arrived, results);
}

/// Several sums of a kernel that makes them as it goes, of one row of blocks: of all threads and blocks, as reduce_row()
/// adds them; the last block writes them to `results`. `partials`: kSums of each block.
template <int kSums>
MINIDL_DEVICE void reduce_sums(double (&sums)[kSums], double* partials, unsigned* arrived, double* results) {
  const auto sum_block = [&] {
    MINIDL_UNROLL
    for (int k = 0; k < kSums; ++k) {
      __syncthreads();  // what was summed before is read
      sums[k] = combine_block<Sum>(sums[k]);
    }
  };
  sum_block();
  if (threadIdx.x == 0) {
    MINIDL_UNROLL
    for (int k = 0; k < kSums; ++k) store(partials + k * gridDim.x + blockIdx.x, sums[k]);
  }
  if (!is_last_block(arrived, gridDim.x)) return;
  MINIDL_UNROLL
  for (int k = 0; k < kSums; ++k) {
    sums[k] = 0.0;
    for (unsigned i = threadIdx.x; i < gridDim.x; i += kReduceThreads) sums[k] += load(partials + k * gridDim.x + i);
  }
  sum_block();
  if (threadIdx.x != 0) return;
  MINIDL_UNROLL
  for (int k = 0; k < kSums; ++k) store(results + k, sums[k]);
}

/// Doubles that reduce() needs beside its results.
inline int64_t reduce_workspace(int64_t count, int64_t rows) {
  return rows * std::max<int64_t>(1, (count + kReduceElements - 1) / kReduceElements);
}

/// results[row] on the device, for 1 to kArrivals rows; `f(row, i)` is a device function that returns double.
template <typename Operation, typename F>
void reduce(int64_t count, int64_t rows, const F& f, double* workspace, double* results, cudaStream_t stream) {
  const dim3 grid(std::max(1u, blocks_for(count, kReduceElements)), static_cast<unsigned>(rows));
  MINIDL_LAUNCH((reduce_kernel<Operation, F>), grid, kReduceThreads, 0, stream, count, f, workspace, arrivals(),
                results);
}

/// The sum of f(0, i).
template <typename Operation = Sum, typename F>
Number reduced(int64_t count, const F& f) {
  const int64_t partials = reduce_workspace(count, 1);
  Tensor memory = Tensor::empty({partials + 1}, Dtype::f64, current_device());
  double* const workspace = memory.data<double>();
  reduce<Operation>(count, 1, f, workspace, workspace + partials, current_stream());
  return Number(memory.slice(partials, partials + 1));
}

}  // namespace minidl::cuda
