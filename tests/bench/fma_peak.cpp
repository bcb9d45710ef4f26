#include <bench/fma_peak.h>
#include <minidl/core/parallel.h>
#include <support/random_tensors.h>

#include <algorithm>
#include <ctime>
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
namespace {

HWY_EXPORT(Chains);

/// Wall-clock time, or with one thread the processor time, which other programs on the machine do not lengthen.
double seconds_of(int threads, const std::function<void()>& work) {
  const auto now = [&] {
    timespec time{};
    clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  };
  const double start = now();
  work();
  return now() - start;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Operations per second of register-only FMAs on all threads.
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

}  // namespace

void measure_against_peak(benchmark::State& state, int threads, double flops, const std::function<void()>& work) {
  const int before = num_threads();
  set_num_threads(threads);
  work();
  std::vector<double> speeds, peaks, ratios;
  for (auto _ : state) {
    const double peak = fma_peak(threads);
    const double seconds = seconds_of(threads, work);
    state.SetIterationTime(seconds);
    peaks.push_back(peak);
    speeds.push_back(flops / seconds);
    ratios.push_back(flops / seconds / peak);
  }
  set_num_threads(before);
  state.counters["GFLOP/s"] = median(speeds) / 1e9;
  state.counters["peak_GFLOP/s"] = median(peaks) / 1e9;
  state.counters["percent"] = 100.0 * median(ratios);
}

}  // namespace minidl::bench
#endif
