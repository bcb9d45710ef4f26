// The memory of the device: who may touch it, and what is found when somebody should not have.
#include <emulator/device_arrays.h>
#include <emulator/sanitizer.h>
#include <minidl/core/cuda/launch.cuh>

#include <cmath>

namespace minidl::emulator {
namespace {

using cuda::load;
using cuda::store;

/// target[i] = source[i] + 1 for i < n, by load and store or by plain accesses.
template <bool kPlain>
MINIDL_KERNEL(64, increment_kernel, const float* source, float* target, int n) {
  const int i = static_cast<int>(threadIdx.x);
  if (i >= n) return;
  if constexpr (kPlain) {
    target[i] = source[i] + 1;
  } else {
    store(target + i, load(source + i) + 1);
  }
}

void increment(const float* source, float* target, int n, bool plain = false) {
  if (plain) {
    MINIDL_LAUNCH(increment_kernel<true>, 1, 64, 0, nullptr, source, target, n);
  } else {
    MINIDL_LAUNCH(increment_kernel<false>, 1, 64, 0, nullptr, source, target, n);
  }
  cudaDeviceSynchronize();
}

TEST(Memory, IsNaNUntilItIsWritten) {
  const DeviceArray<float> array(size_t{100});
  for (const float value : array.values()) EXPECT_TRUE(std::isnan(value));
}

TEST(Memory, KernelsReadAndWriteIt) {
  const DeviceArray<float> source(std::vector<float>{1, 2, 3}), target(size_t{3});
  increment(source.get(), target.get(), 3);
  EXPECT_EQ(target.values(), (std::vector<float>{2, 3, 4}));
  increment(source.get(), target.get(), 3, true);
  EXPECT_EQ(target.values(), (std::vector<float>{2, 3, 4}));
  EXPECT_TRUE(found().empty());
}

TEST(Memory, AccessOutOfBoundsIsFound) {
  const DeviceArray<float> source(size_t{64}), target(size_t{10});
  increment(source.get(), target.get(), 11);
  EXPECT_EQ(cudaGetLastError(), cudaErrorIllegalAddress);
  const std::vector<Finding> findings = take_findings();
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].fault, Fault::out_of_bounds);
  EXPECT_NE(findings[0].message.find("kernel increment_kernel, block (0,0,0), thread (10,0,0): write of 4 bytes"),
            std::string::npos)
      << findings[0].message;
  EXPECT_NE(findings[0].message.find("(40 bytes) + 40"), std::string::npos);
}

TEST(Memory, PlainAccessOutOfBoundsIsFound) {
  const DeviceArray<float> source(std::vector<float>(64)), target(size_t{10});
  if (kAddressSanitizer) {
    EXPECT_DEATH(increment(source.get(), target.get(), 11, true), "use-after-poison");
    return;
  }
  increment(source.get(), target.get(), 11, true);  // within the bytes that alignment leaves over
  EXPECT_EQ(found(), std::vector<Fault>{Fault::overrun});
  increment(source.get(), target.get() + 64, 10, true);  // behind them
  EXPECT_EQ(cudaGetLastError(), cudaErrorIllegalAddress);
  EXPECT_EQ(found(), std::vector<Fault>{Fault::out_of_bounds});
}

TEST(Memory, UseAfterFreeIsFound) {
  const DeviceArray<float> source(size_t{64});
  void* target = nullptr;
  ASSERT_EQ(cudaMalloc(&target, 256), cudaSuccess);
  ASSERT_EQ(cudaFree(target), cudaSuccess);
  increment(source.get(), static_cast<float*>(target), 64);
  EXPECT_EQ(found(), std::vector<Fault>{Fault::use_after_free});
  if (kAddressSanitizer) {
    EXPECT_DEATH(increment(source.get(), static_cast<float*>(target), 64, true), "use-after-poison");
  } else {
    increment(source.get(), static_cast<float*>(target), 64, true);
    EXPECT_EQ(found(), std::vector<Fault>{Fault::use_after_free});
  }
  EXPECT_EQ(cudaMemcpy(target, target, 4, cudaMemcpyDeviceToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(target), cudaSuccess);
  EXPECT_EQ(found(), std::vector<Fault>{Fault::bad_free});
}

TEST(Memory, KernelsCannotTouchHostMemory) {
  const DeviceArray<float> target(size_t{64});
  const std::vector<float> host(64);
  increment(host.data(), target.get(), 64);
  EXPECT_EQ(cudaGetLastError(), cudaErrorIllegalAddress);
  EXPECT_EQ(found(), std::vector<Fault>{Fault::out_of_bounds});
}

TEST(Memory, HostCodeCannotTouchDeviceMemory) {
  const DeviceArray<float> array(std::vector<float>(16));
  EXPECT_DEATH(*const_cast<volatile float*>(array.get() + 3) = 1,
               "host code touched device memory: allocation [0-9]+ \\(64 bytes\\) \\+ 12");
}

MINIDL_KERNEL(32, misaligned_kernel, float* values) {
  store(reinterpret_cast<float4*>(values + 1), make_float4(0, 0, 0, 0));
}
MINIDL_KERNEL(32, deep_kernel, float* values) {
  volatile char large[160 << 10];
  large[0] = 1;
  store(values, static_cast<float>(large[0]));
}

TEST(Memory, MisalignedVectorsAreFound) {
  const DeviceArray<float> array(size_t{16});
  MINIDL_LAUNCH(misaligned_kernel, 1, 1, 0, nullptr, array.get());
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorMisalignedAddress);
  EXPECT_EQ(found(), std::vector<Fault>{Fault::misaligned});
}

TEST(Memory, AfterAFaultEveryCallFailsUntilItIsTaken) {
  const DeviceArray<float> array(size_t{16});
  MINIDL_LAUNCH(misaligned_kernel, 1, 1, 0, nullptr, array.get());
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorMisalignedAddress);
  EXPECT_EQ(cudaMemset(array.get(), 0, 4), cudaErrorMisalignedAddress);
  EXPECT_THROW(MINIDL_LAUNCH(misaligned_kernel, 1, 1, 0, nullptr, array.get()), Error);
  EXPECT_EQ(found().size(), 1u);
  EXPECT_EQ(cudaMemset(array.get(), 0, 4), cudaSuccess);
}

TEST(Memory, CopiesAreChecked) {
  const DeviceArray<float> array(std::vector<float>{1, 2, 3, 4});
  std::vector<float> host(4);
  float* const device = array.get();
  EXPECT_EQ(cudaMemcpy(host.data(), device, 20, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(device, host.data(), 16, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(host.data(), host.data() + 1, 4, cudaMemcpyDeviceToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(host.data(), device, 16, cudaMemcpyDefault), cudaSuccess);
  EXPECT_EQ(host, (std::vector<float>{1, 2, 3, 4}));
  EXPECT_EQ(cudaMemset(device, 0, 17), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemset(device + 1, 0, 8), cudaSuccess);
  EXPECT_EQ(array.values(), (std::vector<float>{1, 0, 0, 4}));
  cudaGetLastError();
}

TEST(Memory, TheDeviceHasALimit) {
  use_device(MINIDL_EMULATOR_DEVICES "/small.json");
  void *first = nullptr, *second = nullptr;
  EXPECT_EQ(cudaMalloc(&first, 700 << 10), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&second, 700 << 10), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_EQ(cudaFree(first), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&second, 700 << 10), cudaSuccess);
  EXPECT_EQ(cudaFree(second), cudaSuccess);
  use_device(MINIDL_EMULATOR_DEVICES "/h200.json");
}

TEST(Memory, OverflowOfAStackIsFound) {
  if (kAddressSanitizer) GTEST_SKIP() << "the address sanitizer reports it itself";
  const DeviceArray<float> array(size_t{16});
  MINIDL_LAUNCH(deep_kernel, 1, 1, 0, nullptr, array.get());
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
  EXPECT_EQ(found(), std::vector<Fault>{Fault::stack_overflow});
}

TEST(AtExit, LeaksAndFindingsFailTheProgram) {
  const auto leak = [] {
    void* pointer = nullptr;
    cudaStream_t stream = nullptr;
    cudaMalloc(&pointer, 100);
    cudaStreamCreate(&stream);
    std::exit(0);
  };
  EXPECT_EXIT(leak(), testing::ExitedWithCode(1),
              "leaked device memory: allocation [0-9]+ of 100 bytes\n.*leaked 1 stream");
  const auto finding = [] {
    const DeviceArray<float> array(size_t{16});
    MINIDL_LAUNCH(misaligned_kernel, 1, 1, 0, nullptr, array.get());
    cudaDeviceSynchronize();
    take_findings();
    MINIDL_LAUNCH(misaligned_kernel, 1, 1, 0, nullptr, array.get());
    cudaDeviceSynchronize();
    std::exit(0);
  };
  EXPECT_EXIT(finding(), testing::ExitedWithCode(1), "misaligned");
  EXPECT_TRUE(live_objects().empty());
}

}  // namespace
}  // namespace minidl::emulator
