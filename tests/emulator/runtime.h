#pragma once
#include <emulator/emulator.h>
#include <emulator/host_api.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace minidl::emulator {

class Queue;

/// Work of a stream up to a position.
struct Wait {
  std::shared_ptr<Queue> queue;
  int64_t position = 0;
};

struct Operation {
  std::string name;                // "kernel conv2d", "memcpy", ...
  const void* function = nullptr;  // of a kernel
  std::function<void()> run;
  std::vector<Wait> waits;
};

/// The work of a stream, in order. It is done when something waits for it, unless Options::deferred_streams is off.
class Queue {
 public:
  explicit Queue(bool blocking) : blocking_(blocking) {}

  void add(Operation operation);
  void run_until(int64_t position);
  void run_all() { run_until(added_); }
  /// How many operations were added so far.
  int64_t added() const { return added_; }
  int64_t done() const { return done_; }
  /// Whether it keeps order with the default stream.
  bool blocking() const { return blocking_; }

 private:
  std::deque<Operation> pending_;
  int64_t added_ = 0, done_ = 0;
  bool blocking_;
};

}  // namespace minidl::emulator

struct CUgraph_st {
  std::vector<minidl::emulator::Operation> nodes;  // in the order of capture, which is one in which they may run
};

struct CUgraphExec_st {
  std::vector<minidl::emulator::Operation> nodes;
};

/// A capture that is going on: streams that take part, by events that they waited for, add to one graph.
struct Capture {
  std::unique_ptr<CUgraph_st> graph = std::make_unique<CUgraph_st>();
  cudaStream_t origin = nullptr;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::set<cudaStream_t> unjoined;  // streams whose last work the origin has not waited for
  bool invalid = false;
};

struct CUstream_st {
  std::shared_ptr<minidl::emulator::Queue> queue;
  std::shared_ptr<Capture> capture;
};

struct CUevent_st {
  minidl::emulator::Wait recorded;
  std::weak_ptr<Capture> capture;  // when it was recorded in one, and on which stream
  cudaStream_t captured_on = nullptr;
};

namespace minidl::emulator {

/// Everything that calls of the runtime share; one call at a time.
class Runtime {
 public:
  static Runtime& instance();

  /// The body of every call: counts it, injects a fault, refuses work after a fault of a kernel, and notes the result.
  template <typename Work>
  cudaError_t call(Work&& work) {
    const std::lock_guard<std::recursive_mutex> lock(mutex_);
    cudaError_t result = begin_call();
    if (result == cudaSuccess) result = work();
    // Not ready is an answer, no error that stays.
    if (result != cudaSuccess && result != cudaErrorNotReady) last_error() = result;
    return result;
  }

  /// Adds to a stream or, while it is captured, to the graph.
  cudaError_t enqueue(cudaStream_t stream, Operation operation);
  CUstream_st* resolve(cudaStream_t stream);  // the default stream for nullptr; nullptr for what is no stream
  void run_everything();
  /// For calls that no capture can contain: invalidates captures and refuses, when there are any.
  cudaError_t refuse_during_capture();
  cudaError_t sticky_error() const { return sticky_; }
  /// After waiting for work: what a kernel left.
  cudaError_t waited() {
    ++waits_;
    return sticky_;
  }
  void set_sticky_error(cudaError_t error) {
    if (sticky_ == cudaSuccess) sticky_ = error;
  }
  void forget_sticky_error() { sticky_ = cudaSuccess; }
  static cudaError_t& last_error();

  std::recursive_mutex& mutex() { return mutex_; }
  int64_t calls() const { return calls_; }
  int64_t waits() const { return waits_; }
  void fail_call(int64_t n, cudaError_t error) {
    calls_until_fault_ = n;
    injected_ = error;
  }

  std::set<CUstream_st*> streams;
  std::set<CUevent_st*> events;
  std::set<CUgraph_st*> graphs;
  std::set<CUgraphExec_st*> graph_execs;
  std::map<const std::byte*, size_t> pinned;      // host memory by cudaHostAlloc: address and bytes
  std::map<const void*, int> max_dynamic_shared;  // of kernels that asked for more than the usual limit

 private:
  cudaError_t begin_call();

  std::recursive_mutex mutex_;
  CUstream_st default_stream_{std::make_shared<Queue>(true), nullptr};
  cudaError_t sticky_ = cudaSuccess;
  int64_t calls_ = 0, waits_ = 0, calls_until_fault_ = 0;
  cudaError_t injected_ = cudaSuccess;
};

}  // namespace minidl::emulator
