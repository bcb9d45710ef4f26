#include <bench/measure.h>
#include <minidl/kernels/gemm.h>
#include <support/random_tensors.h>

namespace minidl {
namespace {

enum Layout { kNN, kNT, kTN };

void gemm_product(benchmark::State& state) {
  const int64_t m = state.range(0), n = state.range(1), k = state.range(2);
  const bool transpose_a = state.range(3) == kTN, transpose_b = state.range(3) == kNT;
  const GemmDesc desc{.m = m,
                      .n = n,
                      .k = k,
                      .transpose_a = transpose_a,
                      .transpose_b = transpose_b,
                      .lda = transpose_a ? m : k,
                      .ldb = transpose_b ? k : n,
                      .ldc = n};
  const Tensor a = test::random_uniform({m, k}, 1), b = test::random_uniform({k, n}, 2);
  Tensor c = Tensor::zeros({m, n});
  bench::measure_against_peak(state, static_cast<int>(state.range(4)),
                              2.0 * static_cast<double>(m * n) * static_cast<double>(k),
                              [&] { gemm(desc, a.data<float>(), b.data<float>(), c.data<float>()); });
}
BENCHMARK(gemm_product)
    ->ArgNames({"m", "n", "k", "layout", "threads"})
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond)
    ->ArgsProduct({{1024}, {1024}, {1024}, {kNN, kNT, kTN}, {1, 2}})
    ->Args({512, 512, 512, kNN, 1})
    ->Args({2048, 2048, 2048, kNN, 2})
    ->ArgsProduct({{64}, {64, 576}, {262144}, {kTN}, {1, 2}})
    ->Args({1, 4096, 4096, kNT, 2});

}  // namespace
}  // namespace minidl
