// Kernels with one planted fault each: every fault is found by a wrong result, by the emulator, or by the race detector
// (in the program whose kernels are instrumented); the right kernels pass in every mode.
#include <cuda_fp16.h>
#include <emulator/device_arrays.h>
#include <gtest/gtest.h>
#include <emulator/example_kernels.cuh>

#include <cmath>
#include <functional>
#include <set>

namespace minidl::emulator {
namespace {

using cuda::Plant;

#ifdef MINIDL_EMULATOR_RACES
constexpr bool kRaces = true;
#else
constexpr bool kRaces = false;
#endif

/// What a run showed: faults that were found, and whether the result was right.
struct Outcome {
  std::set<Fault> faults;
  bool right = true;
};

bool close(const std::vector<float>& values, const std::vector<double>& reference, double tolerance) {
  if (values.size() != reference.size()) return false;
  double error = 0, norm = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    error += (values[i] - reference[i]) * (values[i] - reference[i]);
    norm += reference[i] * reference[i];
  }
  return error <= tolerance * tolerance * norm;  // false for NaN
}

Outcome outcome(const std::vector<float>& values, const std::vector<double>& reference, double tolerance) {
  const std::vector<Fault> faults = found();
  return {{faults.begin(), faults.end()}, close(values, reference, tolerance)};
}

/// 5003 values, 5 blocks of 8 warps; fewer values than threads for early returns.
template <Plant kPlant>
Outcome run_sum() {
  const std::vector<float> x = random_values(kPlant == Plant::early_return ? 100 : 5003, 1);
  double reference = 0;
  for (const float value : x) reference += double{value} * value;
  const DeviceArray<float> device_x(x), sum(std::vector<float>{0});
  MINIDL_LAUNCH(cuda::sum_of_squares_kernel<kPlant>, 5, 256, 0, nullptr, device_x.get(), static_cast<int>(x.size()),
                sum.get());
  return outcome(sum.values(), {reference}, 1e-5);
}

template <Plant kPlant>
Outcome run_product() {
  constexpr int m = 45, n = 70, k = 83;
  const std::vector<float> a = random_values(m * k, 2), b = random_values(k * n, 3);
  std::vector<double> reference(m * n);
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j < k; ++j) {
      for (int l = 0; l < n; ++l) reference[i * n + l] += double{a[i * k + j]} * b[j * n + l];
    }
  }
  const DeviceArray<float> device_a(a), device_b(b), c(size_t{m * n});
  MINIDL_LAUNCH(cuda::tiled_product_kernel<kPlant>, dim3(3, 2), 256, 0, nullptr, device_a.get(), device_b.get(),
                c.get(), m, n, k);
  return outcome(c.values(), reference, 1e-5);
}

template <Plant kPlant>
Outcome run_conv() {
  constexpr cuda::ConvSize size{9, 8, 32, 72};
  const int pixels = size.h * size.w;
  const std::vector<float> input = random_values(pixels * size.c, 4),
                           weight = random_values(size.out_c * 9 * size.c, 5);
  const std::vector<float> bias = random_values(size.out_c, 6);
  std::vector<double> reference;
  for (int p = 0; p < pixels; ++p) {
    for (int o = 0; o < size.out_c; ++o) {
      double sum = bias[o];
      for (int tap = 0; tap < 9; ++tap) {
        const int y = p / size.w + tap / 3 - 1, x = p % size.w + tap % 3 - 1;
        if (y < 0 || y >= size.h || x < 0 || x >= size.w) continue;
        for (int c = 0; c < size.c; ++c) {
          sum += double{input[(y * size.w + x) * size.c + c]} * weight[(o * 9 + tap) * size.c + c];
        }
      }
      reference.push_back(std::max(sum, 0.0));
    }
  }
  const DeviceArray<float> device_input(input), device_weight(weight), device_bias(bias),
      output(size_t(pixels * size.out_c));
  MINIDL_LAUNCH(cuda::conv3x3_tf32_kernel<kPlant>, dim3(2, 2), cuda::kConvThreads, cuda::kConvShared, nullptr,
                device_input.get(), device_weight.get(), device_bias.get(), output.get(), size);
  return outcome(output.values(), reference, 1e-3);  // TF32 has 10 bits of mantissa
}

template <Plant kPlant>
Outcome run_half_sums() {
  constexpr int windows = 64, rows = 16, columns = 8;
  const auto halves = [](const std::vector<float>& values) {
    std::vector<uint16_t> bits;
    for (const float value : values) bits.push_back(__half_as_ushort(value));
    return bits;
  };
  const std::vector<float> a = random_values(windows * rows, 7), b = random_values(columns * windows, 8);
  std::vector<double> reference(rows * columns);
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < columns; ++j) {
      for (int w = 0; w < windows; ++w) reference[i * columns + j] += double{a[w * rows + i]} * b[j * windows + w];
    }
  }
  const DeviceArray<uint16_t> device_a(halves(a)), device_b(halves(b));
  const DeviceArray<float> d(size_t{rows * columns});
  MINIDL_LAUNCH(cuda::half_sums_kernel<kPlant>, 1, 32, 0, nullptr, device_a.get(), device_b.get(), d.get());
  return outcome(d.values(), reference, 1e-3);  // fp16 has 10 bits of mantissa
}

template <Plant kPlant>
Outcome run_sum_of_blocks() {
  constexpr int n = 150, blocks = 5;
  const std::vector<float> x = random_values(n, 9);
  std::vector<double> reference(1);
  for (const float value : x) reference[0] += value;
  const DeviceArray<float> device_x(x), parts(size_t{blocks}), sum(size_t{1});
  const DeviceArray<unsigned> arrived(std::vector<unsigned>{0});
  MINIDL_LAUNCH(cuda::sum_of_blocks_kernel<kPlant>, blocks, 32, 0, nullptr, device_x.get(), n, parts.get(),
                arrived.get(), sum.get());
  return outcome(sum.values(), reference, 1e-5);
}

/// All schedules with all completions of copies; those that are random with three seeds.
void for_each_mode(const std::function<void(const std::string&)>& body) {
  const Options before = options();
  const char* const schedules[] = {"forward", "reverse", "random"};
  const char* const completions[] = {"late", "early", "random"};
  for (int schedule = 0; schedule < 3; ++schedule) {
    for (int copies = 0; copies < 3; ++copies) {
      for (uint64_t seed = 1; seed <= (schedule == 2 || copies == 2 ? 3 : 1); ++seed) {
        options().schedule = static_cast<Schedule>(schedule);
        options().copies = static_cast<Completion>(copies);
        options().seed = seed;
        body(std::string(schedules[schedule]) + ", copies " + completions[copies] + ", seed " + std::to_string(seed));
      }
    }
  }
  options() = before;
}

void expect_right(Outcome (*run)()) {
  for_each_mode([&](const std::string& mode) {
    const Outcome result = run();
    EXPECT_TRUE(result.right) << mode;
    EXPECT_TRUE(result.faults.empty()) << mode << ": " << name(*result.faults.begin());
  });
}

/// All faults that any mode found, and whether any mode gave a wrong result.
Outcome run_all(Outcome (*run)()) {
  Outcome all;
  for_each_mode([&](const std::string&) {
    const Outcome result = run();
    all.faults.insert(result.faults.begin(), result.faults.end());
    all.right = all.right && result.right;
  });
  return all;
}

/// Found as a fault in the way that it is, and nothing else.
void expect_found(Outcome (*run)(), Fault fault) {
  const Outcome all = run_all(run);
  EXPECT_EQ(all.faults, std::set<Fault>{fault});
}

/// Only the order of accesses is wrong: a wrong result in some mode, and a race where accesses are followed.
void expect_race(Outcome (*run)()) {
  const Outcome all = run_all(run);
  EXPECT_FALSE(all.right);
  EXPECT_EQ(all.faults, kRaces ? std::set<Fault>{Fault::race} : std::set<Fault>{});
}

TEST(RightKernels, PassInEveryMode) {
  expect_right(&run_sum<Plant::none>);
  expect_right(&run_product<Plant::none>);
  expect_right(&run_conv<Plant::none>);
  expect_right(&run_half_sums<Plant::none>);
  expect_right(&run_sum_of_blocks<Plant::none>);
}

TEST(PlantedFault, MissingBarrier) {
  expect_race(&run_sum<Plant::missing_barrier>);
}
TEST(PlantedFault, MissingSecondBarrier) {
  expect_race(&run_product<Plant::missing_second_barrier>);
}
TEST(PlantedFault, MissingPipelineBarrier) {
  expect_race(&run_conv<Plant::missing_pipeline_barrier>);
}
TEST(PlantedFault, RaceInSharedMemory) {
  expect_race(&run_product<Plant::shared_race>);
}

TEST(PlantedFault, RaceBetweenBlocks) {
  // Blocks run one after another, so the sum is right: only the detector can know.
  const Outcome all = run_all(&run_sum<Plant::block_race>);
  EXPECT_TRUE(all.right);
  EXPECT_EQ(all.faults, kRaces ? std::set<Fault>{Fault::race} : std::set<Fault>{});
}

TEST(PlantedFault, FencesBetweenBlocks) {
  for (const auto run : {&run_sum_of_blocks<Plant::missing_fence>, &run_sum_of_blocks<Plant::early_fence>,
                         &run_sum_of_blocks<Plant::missing_second_fence>}) {
    const Outcome all = run_all(run);
    EXPECT_TRUE(all.right);
    EXPECT_EQ(all.faults, kRaces ? std::set<Fault>{Fault::race} : std::set<Fault>{});
  }
}

TEST(PlantedFault, ReadsBlocksThatAreNotDone) {
  expect_race(&run_sum_of_blocks<Plant::not_the_last>);
}

TEST(PlantedFault, LateWait) {
  // Seen as a wrong number when copies are done late, and as a race when that happens while others read.
  const Outcome all = run_all(&run_conv<Plant::late_wait>);
  EXPECT_FALSE(all.right);
}

/// Only the numbers are wrong, in every mode alike.
void expect_wrong(Outcome (*run)()) {
  const Outcome all = run_all(run);
  EXPECT_FALSE(all.right);
  EXPECT_TRUE(all.faults.empty());
}

TEST(PlantedFault, FragmentsOfAnotherLayout) {
  expect_wrong(&run_half_sums<Plant::untransposed>);
  expect_wrong(&run_half_sums<Plant::exchanged_chunks>);
  expect_wrong(&run_half_sums<Plant::other_swizzle>);
}

TEST(PlantedFault, LateWaitForHalves) {
  EXPECT_FALSE(run_all(&run_half_sums<Plant::late_wait>).right);
}

TEST(PlantedFault, MissingPadding) {
  // Columns to the left of the first and to the right of the last are pixels of other rows: wrong numbers, inside the
  // array but for the corners.
  const Outcome all = run_all(&run_conv<Plant::missing_padding>);
  EXPECT_FALSE(all.right);
  EXPECT_EQ(all.faults, std::set<Fault>{Fault::out_of_bounds});
}

TEST(PlantedFault, OffByOneBound) {
  const Outcome all = run_all(&run_product<Plant::off_by_one_bound>);
  EXPECT_FALSE(all.right);
  EXPECT_TRUE(all.faults.contains(Fault::out_of_bounds));
}

TEST(PlantedFault, DivergentBarrier) {
  expect_found(&run_sum<Plant::divergent_barrier>, Fault::divergent_barrier);
  expect_found(&run_sum<Plant::early_return>, Fault::divergent_barrier);
}

TEST(PlantedFault, DivergentShuffle) {
  // Lanes that never come leave the others waiting, here before a barrier.
  const Outcome all = run_all(&run_sum<Plant::divergent_shuffle>);
  EXPECT_FALSE(all.faults.empty());
  for (const Fault fault : all.faults) {
    EXPECT_TRUE(fault == Fault::divergent_collective || fault == Fault::divergent_barrier) << name(fault);
  }
}

}  // namespace
}  // namespace minidl::emulator
