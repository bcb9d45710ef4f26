#pragma once
#include <cuda_runtime.h>

#include <cstddef>
#include <functional>
#include <utility>

namespace minidl::cuda {

/// Owns a CUDA object that is made by the current device; moves, never copies.
template <typename Handle, cudaError_t (*kDestroy)(Handle)>
class Owner {
 public:
  Owner() = default;
  explicit Owner(Handle handle) : handle_(handle) {}
  ~Owner() { reset(); }
  Owner(Owner&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Owner& operator=(Owner&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }

  explicit operator bool() const { return handle_ != nullptr; }
  Handle get() const { return handle_; }
  /// A first answer may be the failure of earlier work. At the end of a program the runtime may be gone already: what
  /// it answers is of no use then.
  void reset() noexcept {
    if (!handle_) return;
    for (int i = 0; i < 2 && kDestroy(handle_) != cudaSuccess; ++i) static_cast<void>(cudaGetLastError());
    handle_ = nullptr;
  }

 private:
  Handle handle_ = nullptr;
};

/// A stream that does not wait for the default stream of the process.
class Stream {
 public:
  Stream();
  explicit Stream(std::nullptr_t) {}
  cudaStream_t get() const { return stream_.get(); }
  /// Waits for everything that was put on it; throws Error when some of it failed.
  void synchronize() const;

 private:
  Owner<cudaStream_t, cudaStreamDestroy> stream_;
};

/// A place in the work of a stream, without a time.
class Event {
 public:
  Event();
  void record(cudaStream_t stream);
  /// Waits until the work before the place is done.
  void synchronize() const;
  /// What is put on `stream` from now on waits until then.
  void hold(cudaStream_t stream) const;

 private:
  Owner<cudaEvent_t, cudaEventDestroy> event_;
};

/// Work of a stream that was recorded once and is started as a whole. Kernels and copies run again on the addresses and
/// with the values that they had at the recording.
class Graph {
 public:
  /// What `work` puts on `stream` is recorded, and not run. False, with nothing recorded, when work did something that
  /// cannot be recorded, such as waiting for the stream. When it throws for another reason, nothing is recorded and the
  /// stream is as before. An earlier recording of the same form is brought up to date, which takes less time than a new
  /// one.
  bool record(cudaStream_t stream, const std::function<void()>& work);
  void launch(cudaStream_t stream) const;
  explicit operator bool() const { return static_cast<bool>(exec_); }
  void reset() { exec_.reset(); }

 private:
  Owner<cudaGraphExec_t, cudaGraphExecDestroy> exec_;
};

/// Host memory that the device reads and writes itself, so that copies go on beside the work of the host.
class PinnedMemory {
 public:
  explicit PinnedMemory(size_t bytes);
  void* get() const { return memory_.get(); }

 private:
  Owner<void*, cudaFreeHost> memory_;
};

/// The stream of the device that is current (DeviceScope).
cudaStream_t current_stream();

/// kArrivals counters in memory of the current device, 0 but while a launch counts with them which of its blocks are
/// done. All work of a device is on one stream, so that they serve every launch.
inline constexpr int kArrivals = 256;
unsigned* arrivals();

}  // namespace minidl::cuda
