#include <bench/fma_peak.h>
#include <bench/measure.h>
#include <minidl/core/parallel.h>
#include <minidl/core/tensor.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

namespace minidl::bench {
namespace {

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

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

void measure(benchmark::State& state, int threads, double amount, const Limit& limit,
             const std::function<void()>& work) {
  const int before = num_threads();
  set_num_threads(threads);
  work();
  std::vector<double> speeds, limits, ratios;
  for (auto _ : state) {
    const double most = limit.speed();
    const double seconds = seconds_of(threads, work);
    state.SetIterationTime(seconds);
    limits.push_back(most);
    speeds.push_back(amount / seconds);
    ratios.push_back(amount / seconds / most);
  }
  set_num_threads(before);
  const std::string unit = limit.unit;
  state.counters[unit] = median(speeds) / 1e9;
  state.counters["peak_" + unit] = median(limits) / 1e9;
  state.counters["percent"] = 100.0 * median(ratios);
}

void measure_against_peak(benchmark::State& state, int threads, double flops, const std::function<void()>& work) {
  measure(state, threads, flops, {"GFLOP/s", [=] { return fma_peak(threads); }}, work);
}

void measure_against_copy(benchmark::State& state, int threads, double bytes, const std::function<void()>& work) {
  constexpr int64_t kChunk = 64 << 10;
  const auto half = static_cast<int64_t>(bytes) / 2;
  const Tensor from = Tensor::zeros({half}, Dtype::u8);
  Tensor to = Tensor::zeros({half}, Dtype::u8);
  const auto* input = from.data<uint8_t>();
  auto* output = to.data<uint8_t>();
  const auto copy = [&] {
    parallel_for(0, half, kChunk, [&](int64_t begin, int64_t end) {
      std::memcpy(output + begin, input + begin, static_cast<size_t>(end - begin));
    });
  };
  measure(state, threads, bytes, {"GB/s", [&] { return bytes / seconds_of(threads, copy); }}, work);
}

}  // namespace minidl::bench
