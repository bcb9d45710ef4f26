#include <benchmark/benchmark.h>

#include <bench/fma_peak.h>
#include <bench/measure.h>
#include <minidl/core/parallel.h>
#include <support/random_tensors.h>

#include <vector>

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "bench/fma_peak.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace minidl::bench {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int kChains = 12;  // independent sums: more than latency times units of current cores
constexpr int kRandom = 1024;

/// `steps` additions of products of random numbers to each sum: with constant operands some processors run faster than
/// any real work can. `random` [kRandom + 2 vectors] stays in the first cache. Returns the number of operations.
HWY_ATTR double Chains(int64_t steps, const float* random, float* output) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  hn::Vec<decltype(d)> sum[kChains];
  HWY_UNROLL(12)
  for (int i = 0; i < kChains; ++i) sum[i] = hn::LoadU(d, random + i * lanes);
  const auto x0 = hn::LoadU(d, random + kRandom), x1 = hn::LoadU(d, random + kRandom + lanes);
  for (int64_t step = 0; step < steps; ++step) {
    const float* from = random + step * 2 * lanes % kRandom;
    const auto y0 = hn::LoadU(d, from), y1 = hn::LoadU(d, from + lanes);
    HWY_UNROLL(12)
    for (int i = 0; i < kChains; ++i) sum[i] = hn::MulAdd(i % 2 ? x0 : x1, i % 4 < 2 ? y0 : y1, sum[i]);
  }
  HWY_UNROLL(12)
  for (int i = 0; i < kChains; ++i) hn::StoreU(sum[i], d, output + i * lanes);
  return 2.0 * static_cast<double>(steps * kChains * lanes);
}

}  // namespace HWY_NAMESPACE
}  // namespace minidl::bench
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace minidl::bench {

HWY_EXPORT(Chains);

double fma_peak(int threads) {
  constexpr int64_t kSteps = 1500000;  // some milliseconds
  static const Tensor random = test::random_uniform({1024 + 2 * 16}, 1);
  std::vector<double> operations(static_cast<size_t>(threads));
  const double seconds = seconds_of(threads, [&] {
    parallel_for(0, threads, 1, [&](int64_t begin, int64_t) {
      float output[12 * 16];
      operations[static_cast<size_t>(begin)] = HWY_DYNAMIC_DISPATCH(Chains)(kSteps, random.data<float>(), output);
      benchmark::DoNotOptimize(output);
    });
  });
  double sum = 0.0;
  for (const double count : operations) sum += count;
  return sum / seconds;
}

}  // namespace minidl::bench
#endif
