// Streams, events, graphs, launches, injected errors and counters: what the runtime promises to host code.
#include <emulator/device_arrays.h>
#include <minidl/core/cuda/launch.cuh>
#include <support/compare.h>

#include <cstring>
#include <functional>

namespace minidl::emulator {
namespace {

using cuda::load;
using cuda::store;
using Values = std::vector<float>;

/// y[i] = factor y[i] + summand.
MINIDL_KERNEL(128, scale_kernel, float* y, float factor, float summand) {
  store(y + threadIdx.x, cuda::multiply_add(factor, load(y + threadIdx.x), summand));
}

void scale(float* y, float factor, float summand, cudaStream_t stream = nullptr) {
  MINIDL_LAUNCH(scale_kernel, 1, 4, 0, stream, y, factor, summand);
}

struct Stream {
  explicit Stream(unsigned flags = cudaStreamNonBlocking) {
    EXPECT_EQ(cudaStreamCreateWithFlags(&handle, flags), cudaSuccess);
  }
  ~Stream() { cudaStreamDestroy(handle); }
  cudaStream_t handle = nullptr;
};

struct Event {
  Event() { EXPECT_EQ(cudaEventCreateWithFlags(&handle, cudaEventDisableTiming), cudaSuccess); }
  ~Event() { cudaEventDestroy(handle); }
  cudaEvent_t handle = nullptr;
};

TEST(Streams, WorkWaitsUntilSomebodyNeedsIt) {
  const Stream stream;
  const DeviceArray<float> y(Values(4));
  scale(y.get(), 1, 5, stream.handle);
  EXPECT_EQ(cudaStreamQuery(stream.handle), cudaErrorNotReady);
  EXPECT_EQ(y.values(), Values(4)) << "a copy on the default stream does not wait for this one";
  EXPECT_EQ(cudaStreamSynchronize(stream.handle), cudaSuccess);
  EXPECT_EQ(cudaStreamQuery(stream.handle), cudaSuccess);
  EXPECT_EQ(y.values(), Values(4, 5));
}

TEST(Streams, TheDefaultStreamKeepsOrderWithBlockingOnes) {
  const Stream stream(cudaStreamDefault);
  const DeviceArray<float> y(Values(4));
  scale(y.get(), 1, 5, stream.handle);
  EXPECT_EQ(y.values(), Values(4, 5));
  EXPECT_EQ(cudaMemsetAsync(y.get(), 0, 8), cudaSuccess);
  scale(y.get(), 2, 1, stream.handle);
  EXPECT_EQ(cudaStreamSynchronize(stream.handle), cudaSuccess);
  EXPECT_EQ(y.values(), (Values{1, 1, 11, 11}));
}

TEST(Streams, EventsOrderThem) {
  const Stream first, second;
  const Event event;
  const DeviceArray<float> y(Values(4));
  scale(y.get(), 1, 5, first.handle);
  EXPECT_EQ(cudaEventRecord(event.handle, first.handle), cudaSuccess);
  scale(y.get(), 0, 100, first.handle);  // behind the event
  EXPECT_EQ(cudaEventQuery(event.handle), cudaErrorNotReady);
  EXPECT_EQ(cudaStreamWaitEvent(second.handle, event.handle), cudaSuccess);
  scale(y.get(), 2, 0, second.handle);
  EXPECT_EQ(cudaStreamSynchronize(second.handle), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(event.handle), cudaSuccess);
  EXPECT_EQ(y.values(), Values(4, 10));
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_EQ(y.values(), Values(4, 100));
}

TEST(Streams, HostMemoryIsReadAtTheCallUnlessItIsPinned) {
  const Stream stream;
  const DeviceArray<float> y(Values(4));
  Values pageable(4, 1);
  void* pinned = nullptr;
  ASSERT_EQ(cudaHostAlloc(&pinned, 16, cudaHostAllocDefault), cudaSuccess);
  std::memcpy(pinned, pageable.data(), 16);
  EXPECT_EQ(cudaMemcpyAsync(y.get(), pageable.data(), 8, cudaMemcpyHostToDevice, stream.handle), cudaSuccess);
  EXPECT_EQ(cudaMemcpyAsync(y.get() + 2, pinned, 8, cudaMemcpyHostToDevice, stream.handle), cudaSuccess);
  pageable[0] = static_cast<float*>(pinned)[0] = 7;  // too early for what is pinned
  EXPECT_EQ(cudaStreamSynchronize(stream.handle), cudaSuccess);
  EXPECT_EQ(y.values(), (Values{1, 1, 7, 1}));
  EXPECT_EQ(cudaFreeHost(pinned), cudaSuccess);
}

TEST(Streams, MemoryIsFreedInTheirOrder) {
  const Stream stream, other;
  void* y = nullptr;
  ASSERT_EQ(cudaMallocAsync(&y, 16, stream.handle), cudaSuccess);
  EXPECT_EQ(cudaMemsetAsync(y, 0, 16, stream.handle), cudaSuccess);
  scale(static_cast<float*>(y), 1, 1, stream.handle);
  EXPECT_EQ(cudaFreeAsync(y, stream.handle), cudaSuccess);
  scale(static_cast<float*>(y), 1, 1, other.handle);  // in no order with the others
  EXPECT_EQ(cudaStreamSynchronize(stream.handle), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(other.handle), cudaErrorIllegalAddress);
  EXPECT_EQ(found(), std::vector<Fault>{Fault::use_after_free});
}

/// Captures y = 2 y + summand.
cudaGraphExec_t capture_scale(const Stream& stream, float* y, float summand, cudaError_t expected = cudaSuccess) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  EXPECT_EQ(cudaStreamBeginCapture(stream.handle, cudaStreamCaptureModeGlobal), cudaSuccess);
  scale(y, 2, summand, stream.handle);
  EXPECT_EQ(cudaStreamEndCapture(stream.handle, &graph), expected);
  EXPECT_EQ(cudaGraphInstantiate(&exec, graph), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  return exec;
}

TEST(Graphs, ReplayWithWhatWasCaptured) {
  const Stream stream;
  const DeviceArray<float> y(Values(4));
  float summand = 3;
  const cudaGraphExec_t exec = capture_scale(stream, y.get(), summand);
  summand = 100;  // a host value that was captured does not change any more
  EXPECT_EQ(y.values(), Values(4)) << "capture does not run";
  for (int i = 0; i < 2; ++i) EXPECT_EQ(cudaGraphLaunch(exec, stream.handle), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream.handle), cudaSuccess);
  EXPECT_EQ(y.values(), Values(4, 9));
  EXPECT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);
}

TEST(Graphs, ABakedPointerIsFound) {
  const Stream stream;
  cudaGraphExec_t exec = nullptr;
  {
    const DeviceArray<float> gone(Values(4));
    exec = capture_scale(stream, gone.get(), 1);
  }
  const DeviceArray<float> y(Values(4));  // what the graph was meant to work on
  EXPECT_EQ(cudaGraphLaunch(exec, stream.handle), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream.handle), cudaErrorIllegalAddress);
  EXPECT_EQ(found(), std::vector<Fault>{Fault::use_after_free});
  EXPECT_EQ(y.values(), Values(4));
  EXPECT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);
}

TEST(Graphs, AreUpdatedByGraphsOfTheSameForm) {
  const Stream stream;
  const DeviceArray<float> first(Values(4)), second(Values(4));
  const cudaGraphExec_t exec = capture_scale(stream, first.get(), 1);
  cudaGraph_t same = nullptr, longer = nullptr;
  cudaGraphExecUpdateResultInfo result = {};
  EXPECT_EQ(cudaStreamBeginCapture(stream.handle, cudaStreamCaptureModeGlobal), cudaSuccess);
  scale(second.get(), 1, 6, stream.handle);
  EXPECT_EQ(cudaStreamEndCapture(stream.handle, &same), cudaSuccess);
  EXPECT_EQ(cudaStreamBeginCapture(stream.handle, cudaStreamCaptureModeGlobal), cudaSuccess);
  for (int i = 0; i < 2; ++i) scale(second.get(), 1, 6, stream.handle);
  EXPECT_EQ(cudaStreamEndCapture(stream.handle, &longer), cudaSuccess);
  EXPECT_EQ(cudaGraphExecUpdate(exec, longer, &result), cudaErrorGraphExecUpdateFailure);
  EXPECT_EQ(cudaGraphExecUpdate(exec, same, &result), cudaSuccess);
  EXPECT_EQ(cudaGraphLaunch(exec, stream.handle), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream.handle), cudaSuccess);
  EXPECT_EQ(first.values(), Values(4));
  EXPECT_EQ(second.values(), Values(4, 6));
  for (const cudaGraph_t graph : {same, longer}) EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);
  cudaGetLastError();
}

TEST(Graphs, OtherStreamsJoinByEvents) {
  const Stream stream, side;
  const Event fork, join;
  const DeviceArray<float> y(Values(4));
  cudaGraph_t graph = nullptr;
  const auto capture = [&](bool joined) {
    EXPECT_EQ(cudaStreamBeginCapture(stream.handle, cudaStreamCaptureModeGlobal), cudaSuccess);
    EXPECT_EQ(cudaEventRecord(fork.handle, stream.handle), cudaSuccess);
    EXPECT_EQ(cudaStreamWaitEvent(side.handle, fork.handle), cudaSuccess);
    scale(y.get(), 1, 4, side.handle);
    EXPECT_EQ(cudaEventRecord(join.handle, side.handle), cudaSuccess);
    if (joined) {
      EXPECT_EQ(cudaStreamWaitEvent(stream.handle, join.handle), cudaSuccess);
    }
    return cudaStreamEndCapture(stream.handle, &graph);
  };
  EXPECT_EQ(capture(false), cudaErrorStreamCaptureUnjoined);
  EXPECT_EQ(capture(true), cudaSuccess);
  size_t nodes = 0;
  EXPECT_EQ(cudaGraphGetNodes(graph, nullptr, &nodes), cudaSuccess);
  EXPECT_EQ(nodes, 1u);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  cudaGetLastError();
}

TEST(Graphs, WhatCannotBeCapturedSpoilsTheCapture) {
  const Stream stream;
  const DeviceArray<float> y(Values(4));
  cudaGraph_t graph = nullptr;
  const std::vector<std::function<cudaError_t()>> forbidden = {
      [] {
        void* pointer = nullptr;
        return cudaMalloc(&pointer, 16);
      },
      [] { return cudaDeviceSynchronize(); },
      [&] { return cudaStreamSynchronize(stream.handle); },
      [&] { return cudaMemset(y.get(), 0, 4); },
  };
  for (const auto& call : forbidden) {
    EXPECT_EQ(cudaStreamBeginCapture(stream.handle, cudaStreamCaptureModeGlobal), cudaSuccess);
    EXPECT_EQ(call(), cudaErrorStreamCaptureUnsupported);
    EXPECT_EQ(cudaStreamEndCapture(stream.handle, &graph), cudaErrorStreamCaptureInvalidated);
    EXPECT_EQ(graph, nullptr);
  }
  cudaGetLastError();
}

MINIDL_KERNEL(32, much_static_kernel, float* y) {
  MINIDL_SHARED(float, tile, [13 << 10]);
  store(y, load(&tile[0]));
}

TEST(Launches, AreHeldToTheDevice) {
  const DeviceArray<float> y(Values(4));
  const auto error = [&](dim3 grid, dim3 block, size_t shared) -> std::string {
    try {
      MINIDL_LAUNCH(scale_kernel, grid, block, shared, nullptr, y.get(), 1.0f, 0.0f);
    } catch (const Error& refused) {
      return refused.what();
    }
    return "";
  };
  EXPECT_EQ(error(1, 4, 0), "");
  EXPECT_EQ(error(1, 4, 232448), "");
  EXPECT_NE(error(1, 129, 0).find("launch of scale_kernel failed: cudaErrorInvalidValue"), std::string::npos)
      << "launch bounds";
  EXPECT_NE(error(1, 1025, 0).find("cudaErrorInvalidConfiguration"), std::string::npos);
  EXPECT_NE(error(0, 4, 0).find("cudaErrorInvalidConfiguration"), std::string::npos);
  EXPECT_NE(error(dim3(1, 65536), 4, 0).find("grid 1x65536x1, block 4x1x1"), std::string::npos);
  EXPECT_NE(error(1, 4, 232449).find("232449 bytes of shared memory"), std::string::npos);
  MINIDL_LAUNCH(much_static_kernel, 1, 1, 0, nullptr, y.get());
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
  EXPECT_EQ(found(), std::vector<Fault>{Fault::device_limit});
}

TEST(InjectedErrors, AnyCallFailsAndTheNextOnesDoNot) {
  const auto program = [] {  // what it did before it failed is undone
    void* y = nullptr;
    cudaError_t error = cudaMalloc(&y, 16);
    if (error != cudaSuccess) return error;
    error = cudaMemset(y, 0, 16);
    if (error == cudaSuccess) error = cudaDeviceSynchronize();
    cudaFree(y);
    return error;
  };
  const int64_t before = calls();
  EXPECT_EQ(program(), cudaSuccess);
  EXPECT_EQ(calls() - before, 4);
  for (int64_t n = 1; n <= 3; ++n) {
    fail_call(n, cudaErrorMemoryAllocation);
    EXPECT_EQ(program(), cudaErrorMemoryAllocation) << n;
    EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
    EXPECT_EQ(program(), cudaSuccess) << n;
  }
  fail_call(1, cudaErrorLaunchFailure);
  EXPECT_TRUE(test::throws_error([] { scale(nullptr, 1, 0); }, "failed: cudaErrorLaunchFailure"));
  EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "what was thrown is not found again";
  EXPECT_TRUE(live_objects().empty());
}

TEST(Device, PropertiesAreThoseOfTheDescription) {
  cudaDeviceProp properties;
  ASSERT_EQ(cudaGetDeviceProperties(&properties, 0), cudaSuccess);
  EXPECT_EQ(properties.multiProcessorCount, 132);
  EXPECT_EQ(properties.sharedMemPerBlockOptin, 232448u);
  EXPECT_EQ(cudaGetDeviceProperties(&properties, 1), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidDevice);
}

/// Reads x[stride i] and writes it through a column of a tile of shared memory.
MINIDL_KERNEL(64, access_kernel, const float* x, float* y, int stride, int row) {
  MINIDL_SHARED(float, tile, [64 * 33]);
  const int t = static_cast<int>(threadIdx.x);
  store(&tile[t * row], load(x + t * stride));
  __syncthreads();
  store(y + t, cuda::multiply_add(2.0f, load(&tile[t * row]), 1.0f));
}

LaunchCounters count_access(int stride, int row) {
  const DeviceArray<float> x(Values(64 * 8)), y(size_t{64});
  options().count = true;
  MINIDL_LAUNCH(access_kernel, 1, 64, 0, nullptr, x.get(), y.get(), stride, row);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  options().count = false;
  const std::vector<LaunchCounters> counters = take_counters();
  EXPECT_EQ(counters.size(), 1u);
  return counters.empty() ? LaunchCounters{} : counters[0];
}

TEST(Counters, CountWhatAKernelAsksFor) {
  const LaunchCounters good = count_access(1, 33);
  EXPECT_EQ(good.kernel, "access_kernel");
  EXPECT_EQ(good.threads, 64);
  EXPECT_EQ(good.barriers, 1);
  EXPECT_EQ(good.flops, 128);
  EXPECT_EQ(good.bytes_read, 256);
  EXPECT_EQ(good.bytes_written, 256);
  EXPECT_EQ(good.global_requests, 4);
  EXPECT_EQ(good.sectors, 16);
  EXPECT_EQ(good.ideal_sectors, 16);
  EXPECT_EQ(good.shared_requests, 4);
  EXPECT_EQ(good.bank_conflicts, 0);
  const LaunchCounters scattered = count_access(8, 32);  // one sector a lane; all lanes in one bank
  EXPECT_EQ(scattered.sectors, 8 + 64);
  EXPECT_EQ(scattered.ideal_sectors, 16);
  EXPECT_EQ(scattered.bank_conflicts, 4 * 31);
}

}  // namespace
}  // namespace minidl::emulator
