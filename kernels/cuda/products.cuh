#pragma once
// Products of many vectors x with a few y, as rows of a reduction (reduce.cuh): row r is x[r % count] times y[r / count].
// The block that is the last one of all may do more with them. Traffic: every x once, y from the cache.
#include <minidl/kernels/cuda/map.cuh>
#include <minidl/kernels/cuda/reduce.cuh>

#include <algorithm>
#include <span>

namespace minidl::cuda {

constexpr int kMostProducts = 128;  // of a launch, whose arguments have 4 KiB
constexpr int kMostRight = 4;       // y
static_assert(kMostProducts < kArrivals, "a counter for each row, and one for the rows");

template <typename T>
struct Products {
  const T* x[kMostProducts];
  const float* y[kMostRight];
  int64_t count;
  MINIDL_DEVICE double operator()(int64_t row, int64_t i) const {
    return load_double(x[row % count] + i) * load_double(y[row / count] + i);
  }
};

/// What is done with products that are only written.
struct NothingMore {
  static constexpr bool kIsThere = false;
};

template <typename T, typename More>
MINIDL_KERNEL(kReduceThreads, products_kernel, int64_t count, Products<T> rows, double* partials, unsigned* arrived,
              double* results, More more) {
  const bool is_last = reduce_row<Sum>(count, rows, partials, arrived, results);
  if constexpr (More::kIsThere) {
    if (is_last && is_last_block(arrived + gridDim.y, gridDim.y)) more();
  }
}

template <typename T, typename More>
void launch_products(int64_t count, std::span<const T* const> x, std::span<const float* const> y, double* workspace,
                     double* output, const More& more, size_t shared_bytes) {
  Products<T> rows{{}, {}, std::ssize(x)};
  std::copy(x.begin(), x.end(), rows.x);
  std::copy(y.begin(), y.end(), rows.y);
  const dim3 grid(std::max(1u, blocks_for(count, kReduceElements)), static_cast<unsigned>(x.size() * y.size()));
  MINIDL_LAUNCH((products_kernel<T, More>), grid, kReduceThreads, shared_bytes, current_stream(), count, rows,
                workspace, arrivals(), output, more);
}

/// output[j, i] = x[i]'y[j] of vectors with `count` elements, in as many launches as it takes; the last one then calls
/// more() in all threads of one block, which sees all of them and has `shared_bytes` of dynamic shared memory.
template <typename T, typename More>
void products(int64_t count, std::span<const T* const> x, std::span<const float* const> y, double* output,
              const More& more, size_t shared_bytes = 0) {
  if (x.empty() || y.empty()) return;
  const size_t left = std::min<size_t>(x.size(), kMostProducts);
  const size_t right = x.size() > left ? 1 : std::clamp<size_t>(kMostProducts / left, 1, kMostRight);
  const auto rows = static_cast<int64_t>(left * std::min(right, y.size()));
  Tensor workspace = Tensor::empty({reduce_workspace(count, rows)}, Dtype::f64, current_device());
  for (; !y.empty(); y = y.subspan(std::min(right, y.size()))) {
    const auto of_y = y.first(std::min(right, y.size()));
    for (size_t begin = 0; begin < x.size(); begin += left) {
      const auto of_x = x.subspan(begin, std::min(left, x.size() - begin));
      if (begin + left >= x.size() && of_y.size() == y.size()) {
        launch_products(count, of_x, of_y, workspace.data<double>(), output, more, shared_bytes);
      } else {
        launch_products(count, of_x, of_y, workspace.data<double>(), output, NothingMore{}, 0);
      }
      output += of_x.size() * of_y.size();
    }
  }
}

}  // namespace minidl::cuda
