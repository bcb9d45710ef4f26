#pragma once
#include <benchmark/benchmark.h>

#include <functional>

namespace minidl::bench {

/// Measures `work`, which does `flops` operations, with `threads` threads, and before each iteration the FMA limit of
/// the machine. Reports medians: GFLOP/s, peak_GFLOP/s and the percentage of the limit that was measured beside it.
void measure_against_peak(benchmark::State& state, int threads, double flops, const std::function<void()>& work);

}  // namespace minidl::bench
