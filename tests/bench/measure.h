#pragma once
#include <benchmark/benchmark.h>

#include <functional>

namespace minidl::bench {

/// Wall-clock time, or with one thread the processor time, which other programs on the machine do not lengthen.
double seconds_of(int threads, const std::function<void()>& work);

/// What `work` is compared with.
struct Limit {
  const char* unit;               // "GFLOP/s": the counter of the work, and after "peak_" that of the limit
  std::function<double()> speed;  // units of 1e-9 per second, measured anew at each call
};

/// Measures `work`, which does `amount` operations or moves so many bytes, with `threads` threads, and before each
/// iteration the limit of the machine. Reports medians of both and the percentage of the limit measured beside it.
void measure(benchmark::State& state, int threads, double amount, const Limit& limit,
             const std::function<void()>& work);

/// Against the FMA limit: `work` does `flops` operations.
void measure_against_peak(benchmark::State& state, int threads, double flops, const std::function<void()>& work);

/// Against an ordinary copy of half as many bytes: `work` reads and writes `bytes` altogether, each as often as it must.
/// Work whose stores bypass the caches is faster than such a copy, which fetches what it overwrites.
void measure_against_copy(benchmark::State& state, int threads, double bytes, const std::function<void()>& work);

}  // namespace minidl::bench
