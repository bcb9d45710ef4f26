// Owners of the runtime's objects; skipped where there is no device.
#include <minidl/core/cuda/backend.h>
#include <minidl/core/cuda/check.h>
#include <minidl/core/cuda/stream.h>
#include <minidl/core/tensor.h>
#include <support/compare.h>
#include <support/device.h>

#include <optional>

namespace minidl::cuda {
namespace {

using test::throws_error;

const Device kDevice{Device::Kind::cuda, 0};
constexpr int64_t kBytes = 1000;

class CudaStream : public ::testing::Test {
 protected:
  void SetUp() override {
    if (test::on_cpu()) GTEST_SKIP() << "needs a device: MINIDL_TEST_DEVICE=cuda";
    scope_.emplace(0);
    memory_ = Tensor::zeros({kBytes}, Dtype::u8, kDevice);
    synchronize(0);
  }
  void set(uint8_t value, cudaStream_t stream) {
    MINIDL_CUDA_CHECK(cudaMemsetAsync(memory_.raw(), value, kBytes, stream));
  }
  /// To pinned memory, in the order of the stream.
  void fetch(const PinnedMemory& host, cudaStream_t stream) {
    MINIDL_CUDA_CHECK(cudaMemcpyAsync(host.get(), memory_.raw(), kBytes, cudaMemcpyDeviceToHost, stream));
  }
  static std::vector<uint8_t> values(const PinnedMemory& host) {
    const auto* const bytes = static_cast<const uint8_t*>(host.get());
    return {bytes, bytes + kBytes};
  }

 private:
  std::optional<DeviceScope> scope_;
  Tensor memory_;
};

TEST_F(CudaStream, SynchronizeWaitsForItsWork) {
  const Stream stream;
  const PinnedMemory host(kBytes);
  set(7, stream.get());
  fetch(host, stream.get());
  stream.synchronize();
  EXPECT_EQ(values(host), std::vector<uint8_t>(kBytes, 7));
}

TEST_F(CudaStream, AnEventHoldsAnotherStream) {
  const Stream first, second;
  const PinnedMemory host(kBytes);
  Event written;
  set(9, first.get());
  written.record(first.get());
  written.hold(second.get());
  fetch(host, second.get());
  second.synchronize();
  EXPECT_EQ(values(host), std::vector<uint8_t>(kBytes, 9));
  set(11, first.get());
  fetch(host, first.get());
  written.record(first.get());
  written.synchronize();
  EXPECT_EQ(values(host), std::vector<uint8_t>(kBytes, 11));
}

TEST_F(CudaStream, AGraphDoesWhatWasRecorded) {
  const Stream stream;
  const PinnedMemory host(kBytes);
  Graph graph;
  EXPECT_TRUE(throws_error([&] { graph.launch(stream.get()); }, "a graph without a recording was launched"));
  for (const uint8_t value : {5, 6}) {  // the second time the graph is there and is updated
    EXPECT_TRUE(graph.record(stream.get(), [&] { set(value, stream.get()); }));
    set(1, stream.get());
    graph.launch(stream.get());
    fetch(host, stream.get());
    stream.synchronize();
    EXPECT_EQ(values(host), std::vector<uint8_t>(kBytes, value));
  }
}

TEST_F(CudaStream, OwnersMove) {
  Stream stream;
  const cudaStream_t handle = stream.get();
  Stream moved = std::move(stream);
  EXPECT_EQ(moved.get(), handle);
  moved = Stream();
  set(3, moved.get());
  moved.synchronize();
  EXPECT_EQ(Stream(nullptr).get(), nullptr);
}

}  // namespace
}  // namespace minidl::cuda
