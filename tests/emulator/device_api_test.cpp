// The functions that kernels call, one small kernel each.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <emulator/device_arrays.h>
#include <minidl/kernels/cuda/mma.cuh>

#include <array>
#include <cmath>
#include <cstring>

namespace minidl::emulator {
namespace {

using cuda::load;
using cuda::store;

constexpr unsigned kAll = 0xffffffffu;

MINIDL_KERNEL(64, index_kernel, int* numbers) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  store(numbers + block * 24 + thread, static_cast<int>(block * 24 + thread));
}

TEST(DeviceApi, EveryThreadHasItsIndex) {
  const DeviceArray<int> numbers(size_t{8 * 24});
  MINIDL_LAUNCH(index_kernel, dim3(2, 2, 2), dim3(4, 3, 2), 0, nullptr, numbers.get());
  const std::vector<int> values = numbers.values();
  ASSERT_EQ(values.size(), 192u);
  for (int i = 0; i < 192; ++i) EXPECT_EQ(values[i], i);
}

/// Row r of the output: what shuffle r gave to each lane, whose value is 100 + lane.
MINIDL_KERNEL(32, shuffle_kernel, int* output) {
  const int lane = static_cast<int>(threadIdx.x), value = 100 + lane;
  store(output + lane, __shfl_sync(kAll, value, 5));
  store(output + 32 + lane, __shfl_sync(kAll, value, 3, 8));
  store(output + 64 + lane, __shfl_up_sync(kAll, value, 2));
  store(output + 96 + lane, __shfl_down_sync(kAll, value, 3, 16));
  store(output + 128 + lane, __shfl_xor_sync(kAll, value, 6));
  store(output + 160 + lane, static_cast<int>(__ballot_sync(kAll, lane % 3 == 0)));
  store(output + 192 + lane, __any_sync(kAll, lane == 9) + 2 * __any_sync(kAll, 0) + 4 * __all_sync(kAll, 1) +
                                 8 * __all_sync(kAll, lane > 0));
  store(output + 224 + lane, __reduce_add_sync(kAll, -lane) + __reduce_max_sync(kAll, lane - 40) * 1000);
  store(output + 256 + lane, static_cast<int>(__reduce_or_sync(kAll, 1u << lane) ^ __reduce_and_sync(kAll, 3u)));
}

TEST(DeviceApi, WarpsExchangeValues) {
  const DeviceArray<int> output(size_t{9 * 32});
  MINIDL_LAUNCH(shuffle_kernel, 1, 32, 0, nullptr, output.get());
  const std::vector<int> values = output.values();
  ASSERT_TRUE(found().empty());
  for (int lane = 0; lane < 32; ++lane) {
    const auto at = [&](int row) { return values[row * 32 + lane]; };
    EXPECT_EQ(at(0), 105);
    EXPECT_EQ(at(1), 100 + lane / 8 * 8 + 3);
    EXPECT_EQ(at(2), 100 + (lane < 2 ? lane : lane - 2));
    EXPECT_EQ(at(3), 100 + (lane % 16 + 3 > 15 ? lane : lane + 3));
    EXPECT_EQ(at(4), 100 + (lane ^ 6));
    EXPECT_EQ(at(5), 0x49249249);
    EXPECT_EQ(at(6), 1 + 4);
    EXPECT_EQ(at(7), -496 - 9000);
    EXPECT_EQ(at(8), static_cast<int>(kAll ^ 3u));
  }
}

/// Half of the lanes exchange values among themselves; a lane that takes no part gives nothing that is defined.
MINIDL_KERNEL(32, partial_mask_kernel, float* output) {
  const unsigned lane = threadIdx.x;
  if (lane >= 16) return;
  store(output + lane, __shfl_sync(0xffffu, static_cast<float>(lane), 7));
  store(output + 16 + lane, __shfl_sync(0xffffu, static_cast<float>(lane), 20));
}

TEST(DeviceApi, LanesOutsideOfTheMaskGiveNaN) {
  const DeviceArray<float> output(size_t{32});
  MINIDL_LAUNCH(partial_mask_kernel, 1, 32, 0, nullptr, output.get());
  const std::vector<float> values = output.values();
  ASSERT_EQ(values.size(), 32u);
  EXPECT_EQ(values[3], 7);
  EXPECT_TRUE(std::isnan(values[16 + 3]));
}

MINIDL_KERNEL(32, missing_lane_kernel, int* output) {
  if (threadIdx.x == 4) return;
  store(output, static_cast<int>(__ballot_sync(kAll ^ (1u << 4) ^ (threadIdx.x == 9 ? 1u << 9 : 0u), 1)));
}
MINIDL_KERNEL(32, other_shuffle_kernel, int* output) {
  int value = static_cast<int>(threadIdx.x);
  if (value % 2 == 0) {
    value = __shfl_xor_sync(kAll, value, 2);
  } else {
    value = __shfl_xor_sync(kAll, value, 4);
  }
  store(output + threadIdx.x, value);
}

TEST(DeviceApi, CollectivesThatDivergeAreFound) {
  const DeviceArray<int> output(size_t{32});
  MINIDL_LAUNCH(missing_lane_kernel, 1, 32, 0, nullptr, output.get());
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
  EXPECT_EQ(found(), std::vector<Fault>{Fault::divergent_collective});
  MINIDL_LAUNCH(other_shuffle_kernel, 1, 32, 0, nullptr, output.get());
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
  EXPECT_EQ(found(), std::vector<Fault>{Fault::divergent_collective});
}

/// Reads what it has not written, then writes: no value of one block may reach another.
MINIDL_KERNEL(32, fresh_shared_kernel, float* output, int extra) {
  MINIDL_SHARED(float, fixed, [2][16]);
  MINIDL_DYNAMIC_SHARED(float, dynamic);
  const unsigned t = threadIdx.x;
  store(output + blockIdx.x * 64 + t, load(&fixed[t / 16][t % 16]));
  store(output + blockIdx.x * 64 + 32 + t, load(dynamic + t));
  store(&fixed[t / 16][t % 16], 1.0f);
  store(dynamic + t + extra, 2.0f);
}

TEST(DeviceApi, SharedMemoryIsNaNInEveryBlock) {
  const DeviceArray<float> output(size_t{3 * 64});
  MINIDL_LAUNCH(fresh_shared_kernel, 3, 32, 32 * sizeof(float), nullptr, output.get(), 0);
  const std::vector<float> values = output.values();
  ASSERT_EQ(values.size(), 192u);
  for (const float value : values) EXPECT_TRUE(std::isnan(value));
}

TEST(DeviceApi, SharedMemoryHasBounds) {
  const DeviceArray<float> output(size_t{64});
  MINIDL_LAUNCH(fresh_shared_kernel, 1, 32, 32 * sizeof(float), nullptr, output.get(), 1);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
  const std::vector<Finding> findings = take_findings();
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].fault, Fault::out_of_bounds);
  EXPECT_NE(findings[0].message.find("shared array 'dynamic' (128 bytes) + 128"), std::string::npos)
      << findings[0].message;
  EXPECT_NE(findings[0].message.find("kernel fresh_shared_kernel, block (0,0,0), thread (31,0,0)"), std::string::npos);
}

MINIDL_KERNEL(64, atomics_kernel, int* integers, float* sum, unsigned long long* count) {
  const int t = static_cast<int>(threadIdx.x);
  atomicAdd(integers, t);
  atomicMax(integers + 1, t);
  atomicMin(integers + 2, -t);
  atomicCAS(integers + 3, 0, t + 1);
  atomicExch(integers + 4, 7);
  atomicAdd(sum, 0.5f);
  atomicAdd(count, 1ull);
}

TEST(DeviceApi, Atomics) {
  const DeviceArray<int> integers(std::vector<int>(5));
  const DeviceArray<float> sum(std::vector<float>(1));
  const DeviceArray<unsigned long long> count(std::vector<unsigned long long>(1));
  MINIDL_LAUNCH(atomics_kernel, 3, 64, 0, nullptr, integers.get(), sum.get(), count.get());
  EXPECT_EQ(integers.values(), (std::vector<int>{3 * 2016, 63, -63, 1, 7}));
  EXPECT_EQ(sum.values(), std::vector<float>{96});
  EXPECT_EQ(count.values(), std::vector<unsigned long long>{192});
}

TEST(DeviceApi, HalfAndBfloat16RoundToNearestEven) {
  EXPECT_EQ(__half_as_ushort(__float2half(1.0f)), 0x3c00);
  EXPECT_EQ(__half_as_ushort(__float2half(1.0f + 0x1p-11f)), 0x3c00);
  EXPECT_EQ(__half_as_ushort(__float2half(1.0f + 0x3p-11f)), 0x3c02);
  EXPECT_EQ(__half_as_ushort(__float2half(65520.0f)), 0x7c00);
  EXPECT_EQ(__half2float(__ushort_as_half(0x0001)), 0x1p-24f);
  EXPECT_EQ(__bfloat16_as_ushort(__float2bfloat16(1.0f + 0x1p-8f)), 0x3f80);
  EXPECT_EQ(__bfloat16_as_ushort(__float2bfloat16(1.0f + 0x3p-8f)), 0x3f82);
  EXPECT_EQ(__bfloat162float(__ushort_as_bfloat16(0xc040)), -3.0f);
  EXPECT_TRUE(std::isnan(__bfloat162float(__float2bfloat16(NAN))));
}

/// d (16 x 8) = a (16 x 16) b^T, b (8 x 16), in bf16; rows of 128 bytes in shared memory, chunks of 16 bytes swizzled
/// by row or not.
template <bool kSwizzled>
MINIDL_KERNEL(32, mma_bf16_kernel, const uint16_t* a, const uint16_t* b, float* d) {
  MINIDL_SHARED(uint16_t, tile, [16][64]);
  const int lane = static_cast<int>(threadIdx.x), g = lane / 4, t = lane % 4;
  const auto chunk = [&](int row, int i) { return &tile[row][(kSwizzled ? i ^ row % 8 : i) * 8]; };
  for (int i = 0; i < 8; ++i) store(chunk(lane / 2, lane % 2) + i, load(a + lane * 8 + i));
  __syncwarp();
  uint32_t fragment_a[4], fragment_b[2];
  cuda::ldmatrix_x4(fragment_a, chunk(lane % 16, lane / 16));
  for (int i = 0; i < 2; ++i) fragment_b[i] = load(reinterpret_cast<const uint32_t*>(b + g * 16 + 2 * t + 8 * i));
  float sums[4] = {};
  cuda::mma_m16n8k16_bf16(sums, fragment_a, fragment_b);
  for (int i = 0; i < 4; ++i) store(d + (g + 8 * (i / 2)) * 8 + 2 * t + i % 2, sums[i]);
}

TEST(DeviceApi, TensorCoresMultiplyFragmentsFromShared) {
  std::vector<uint16_t> a(16 * 16), b(8 * 16);
  std::vector<float> expected(16 * 8);
  const auto value = [](size_t i) { return static_cast<float>(static_cast<int>(i * 7 % 9) - 4); };  // integers: exact
  for (size_t i = 0; i < a.size(); ++i) a[i] = __bfloat16_as_ushort(value(i));
  for (size_t i = 0; i < b.size(); ++i) b[i] = __bfloat16_as_ushort(value(i + 5));
  for (size_t i = 0; i < expected.size(); ++i) {
    for (size_t k = 0; k < 16; ++k) expected[i] += value(i / 8 * 16 + k) * value(i % 8 * 16 + k + 5);
  }
  const DeviceArray<uint16_t> device_a(a), device_b(b);
  const DeviceArray<float> d(size_t{16 * 8});
  options().count = true;
  MINIDL_LAUNCH(mma_bf16_kernel<false>, 1, 32, 0, nullptr, device_a.get(), device_b.get(), d.get());
  EXPECT_EQ(d.values(), expected);
  MINIDL_LAUNCH(mma_bf16_kernel<true>, 1, 32, 0, nullptr, device_a.get(), device_b.get(), d.get());
  EXPECT_EQ(d.values(), expected);
  options().count = false;
  const std::vector<LaunchCounters> counters = take_counters();
  ASSERT_EQ(counters.size(), 2u);
  EXPECT_EQ(counters[0].tensor_flops, 2 * 16 * 8 * 16);
  // Without the swizzle all 8 rows of each of the 4 matrices begin in the same bank: 7 cycles more each. The stores of
  // single values by lanes of equal parity lie 128 bytes apart, too.
  EXPECT_GE(counters[0].bank_conflicts, counters[1].bank_conflicts + 4 * 7);
}

/// Registers of all lanes, [4 or 2][32], of matrices whose element is 8 * row + column.
enum class Matrices { four, four_transposed, two };
template <Matrices kMatrices>
MINIDL_KERNEL(32, ldmatrix_kernel, uint32_t* registers) {
  MINIDL_SHARED(uint16_t, rows, [32][8]);
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = 0; i < 8; ++i) store(&rows[lane][i], static_cast<uint16_t>(8 * lane + i));
  __syncwarp();
  constexpr int kCount = kMatrices == Matrices::two ? 2 : 4;
  uint32_t r[kCount];
  if constexpr (kMatrices == Matrices::four) cuda::ldmatrix_x4(r, rows[lane]);
  if constexpr (kMatrices == Matrices::four_transposed) cuda::ldmatrix_x4_trans(r, rows[lane]);
  if constexpr (kMatrices == Matrices::two) cuda::ldmatrix_x2(r, lane < 16 ? rows[lane] : nullptr);
  for (int i = 0; i < kCount; ++i) store(registers + i * 32 + lane, r[i]);
}

TEST(DeviceApi, LdmatrixGivesEachLaneItsPairs) {
  const DeviceArray<uint32_t> four(size_t{128}), transposed(size_t{128}), two(size_t{64});
  MINIDL_LAUNCH(ldmatrix_kernel<Matrices::four>, 1, 32, 0, nullptr, four.get());
  MINIDL_LAUNCH(ldmatrix_kernel<Matrices::four_transposed>, 1, 32, 0, nullptr, transposed.get());
  MINIDL_LAUNCH(ldmatrix_kernel<Matrices::two>, 1, 32, 0, nullptr, two.get());
  const auto element = [](uint32_t matrix, uint32_t row, uint32_t column) { return matrix * 64 + row * 8 + column; };
  for (uint32_t i = 0; i < 4; ++i) {
    for (uint32_t lane = 0; lane < 32; ++lane) {
      const uint32_t g = lane / 4, t = lane % 4;
      const uint32_t pair = element(i, g, 2 * t) | element(i, g, 2 * t + 1) << 16;
      EXPECT_EQ(four.values()[i * 32 + lane], pair);
      if (i < 2) {
        EXPECT_EQ(two.values()[i * 32 + lane], pair);
      }
      EXPECT_EQ(transposed.values()[i * 32 + lane], element(i, 2 * t, g) | element(i, 2 * t + 1, g) << 16);
    }
  }
}

/// d (16 x 8) = a b with one number in each: a[row][k], b[k][column].
MINIDL_KERNEL(32, mma_f16_kernel, uint16_t first, uint16_t second, int row, int column, int k, float* d) {
  const int lane = static_cast<int>(threadIdx.x), g = lane / 4, t = lane % 4;
  uint32_t a[4] = {}, b[2] = {};
  for (int i = 0; i < 4; ++i) {
    for (int half = 0; half < 2; ++half) {
      if (g + 8 * (i % 2) == row && 2 * t + 8 * (i / 2) + half == k) a[i] = uint32_t{first} << 16 * half;
    }
  }
  for (int i = 0; i < 2; ++i) {
    for (int half = 0; half < 2; ++half) {
      if (g == column && 2 * t + 8 * i + half == k) b[i] = uint32_t{second} << 16 * half;
    }
  }
  float sums[4] = {};
  cuda::mma_m16n8k16_f16(sums, a, b);
  for (int i = 0; i < 4; ++i) store(d + (g + 8 * (i / 2)) * 8 + 2 * t + i % 2, sums[i]);
}

TEST(DeviceApi, TensorCoresMultiplyHalves) {
  const DeviceArray<float> d(size_t{16 * 8});
  for (const float value : {1.5f, 0x1p-24f, 65504.0f, -0x1.ffcp-3f}) {  // subnormal, largest, all bits
    for (const auto& [row, column, k] : {std::array{3, 5, 0}, {11, 2, 7}, {8, 7, 8}, {0, 0, 15}}) {
      MINIDL_LAUNCH(mma_f16_kernel, 1, 32, 0, nullptr, __half_as_ushort(value), __half_as_ushort(-2.25f), row, column,
                    k, d.get());
      std::vector<float> expected(16 * 8);
      expected[static_cast<size_t>(row * 8 + column)] = value * -2.25f;
      EXPECT_EQ(d.values(), expected) << value << " at " << row << ", " << column << ", " << k;
    }
  }
}

}  // namespace
}  // namespace minidl::emulator
