#include <minidl/core/cuda/backend.h>
#include <minidl/kernels/checks.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/cuda/map.cuh>
#include <minidl/kernels/cuda/reduce.cuh>

#include <algorithm>

// Sums of many arrays with a factor each, in f64, and the direction of L-BFGS, which is one: with it goes the first
// point of a search along it, and two products, added up as in reduce.cuh. Of more arrays than a launch takes, sums so
// far are kept in f64. Traffic: every array once.
namespace minidl::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kTerms = 128;  // of one launch: 1 KiB of the 4 KiB that arguments may have

/// a x + sum of b[k] y[k], or `earlier` + that sum.
template <typename T>
struct Terms {
  float a;
  const float* x;
  const double *earlier, *b;
  const T* y[kTerms];
  int count;

  /// To shared memory, from where the sums read it. All threads call.
  MINIDL_DEVICE void load_factors(double (&factors)[kTerms]) const {
    if (static_cast<int>(threadIdx.x) < count) store(&factors[threadIdx.x], load(b + threadIdx.x));
    __syncthreads();
  }
  MINIDL_DEVICE double sum(int64_t i, const double (&factors)[kTerms]) const {
    double sum = earlier ? load(earlier + i) : static_cast<double>(a) * load_double(x + i);
    for (int k = 0; k < count; ++k) sum += load(&factors[k]) * load_double(y[k] + i);
    return sum;
  }
};

/// One element a thread, to `partial` or, where that is nullptr, rounded.
template <typename T>
MINIDL_KERNEL(kThreads, combination_kernel, int64_t count, Terms<T> terms, double* partial, float* output) {
  MINIDL_SHARED(double, factors, [kTerms]);
  terms.load_factors(factors);
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= count) return;
  const double sum = terms.sum(i, factors);
  if (partial) {
    store(partial + i, sum);
  } else {
    store(output + i, static_cast<float>(sum));
  }
}

constexpr int kOfThread = 4;  // elements of a direction: fewer blocks to add up

/// Grid (elements / 1024); the last block adds the blocks.
template <typename T>
MINIDL_KERNEL(kThreads, direction_kernel, Terms<T> terms, SearchStartArrays search, double* partials,
              unsigned* arrived) {
  static_assert(kThreads == kReduceThreads);
  MINIDL_SHARED(double, factors, [kTerms]);
  terms.load_factors(factors);
  double sums[2] = {};
  for (int k = 0; k < kOfThread; ++k) {
    const int64_t i = (int64_t{blockIdx.x} * kOfThread + k) * kThreads + threadIdx.x;
    if (i >= search.count) break;
    const auto direction = static_cast<float>(terms.sum(i, factors));
    store(search.direction + i, direction);
    store(search.position + i, load(search.start + i) + direction);
    sums[0] += load_double(search.gradient + i) * static_cast<double>(direction);
    sums[1] += static_cast<double>(direction) * static_cast<double>(direction);
  }
  reduce_sums(sums, partials, arrived, search.products);
}

/// Calls finish(terms) with the last terms of a sum, when those before are on their way.
template <typename T, typename Finish>
void with_last_terms(int64_t count, float a, const float* x, const double* b, std::span<const T* const> y,
                     const Finish& finish) {
  Tensor partial;
  for (size_t begin = 0;; begin += kTerms) {
    const auto some = y.subspan(begin, std::min<size_t>(kTerms, y.size() - begin));
    Terms<T> terms{a, x, partial ? partial.data<double>() : nullptr, b + begin, {}, static_cast<int>(some.size())};
    std::copy(some.begin(), some.end(), terms.y);
    if (begin + some.size() == y.size()) return finish(terms);
    if (count == 0) continue;
    if (!partial) partial = Tensor::empty({count}, Dtype::f64, current_device());
    MINIDL_LAUNCH((combination_kernel<T>), blocks_for(count, kThreads), kThreads, 0, current_stream(), count, terms,
                  partial.data<double>(), nullptr);
  }
}

template <typename T>
void combination_of(int64_t count, float a, const float* x, const double* b, std::span<const T* const> y,
                    float* output) {
  if (count == 0) return;
  if (y.empty()) return affine(count, a, x, 0.0f, output);
  with_last_terms(count, a, x, b, y, [&](const Terms<T>& terms) {
    MINIDL_LAUNCH((combination_kernel<T>), blocks_for(count, kThreads), kThreads, 0, current_stream(), count, terms,
                  nullptr, output);
  });
}

}  // namespace

void combination(int64_t count, float a, const float* x, const double* b, std::span<const float* const> y,
                 float* output) {
  combination_of(count, a, x, b, y, output);
}

void combination_bf16(int64_t count, float a, const float* x, const double* b, std::span<const uint16_t* const> y,
                      float* output) {
  combination_of(count, a, x, b, y, output);
}

void lbfgs_direction(std::span<const Tensor> s, const float* x, const double* b, const SearchStartArrays& search) {
  const unsigned blocks = std::max(1u, blocks_for(search.count, int64_t{kThreads} * kOfThread));
  Tensor partials = Tensor::empty({2, int64_t{blocks}}, Dtype::f64, current_device());
  with_pointers(s, [&]<typename T>(const std::vector<const T*>& vectors) {
    with_last_terms<T>(search.count, 1.0f, x, b, vectors, [&](const Terms<T>& terms) {
      MINIDL_LAUNCH((direction_kernel<T>), blocks, kThreads, 0, current_stream(), terms, search,
                    partials.data<double>(), arrivals());
    });
  });
}

}  // namespace minidl::cuda
