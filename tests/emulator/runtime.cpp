#include <emulator/device_memory.h>
#include <emulator/findings.h>
#include <emulator/runtime.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <utility>

namespace minidl::emulator {
namespace {

/// What is left over at the end of a program makes it fail.
void check_at_exit() {
  bool failed = has_findings();
  if (failed) std::fprintf(stderr, "emulator: the findings above were not taken by anybody\n");
  for (const std::string& object : live_objects()) {
    std::fprintf(stderr, "emulator: leaked %s\n", object.c_str());
    failed = true;
  }
  if (!failed) return;
  std::fflush(nullptr);
  ::_exit(1);
}

}  // namespace

void Queue::add(Operation operation) {
  pending_.push_back(std::move(operation));
  ++added_;
  if (!options().deferred_streams) run_all();
}

void Queue::run_until(int64_t position) {
  while (done_ < position) {
    const Operation operation = std::move(pending_.front());
    pending_.pop_front();
    ++done_;
    for (const Wait& wait : operation.waits) wait.queue->run_until(wait.position);
    if (Runtime::instance().sticky_error() == cudaSuccess) operation.run();
  }
}

Runtime& Runtime::instance() {
  static Runtime* const runtime = [] {
    std::atexit(&check_at_exit);
    return new Runtime;  // outlives whatever calls it at the end of the program
  }();
  return *runtime;
}

cudaError_t& Runtime::last_error() {
  static thread_local cudaError_t error = cudaSuccess;
  return error;
}

cudaError_t Runtime::begin_call() {
  ++calls_;
  if (calls_until_fault_ > 0 && --calls_until_fault_ == 0) return injected_;
  return sticky_;
}

CUstream_st* Runtime::resolve(cudaStream_t stream) {
  if (stream == nullptr) return &default_stream_;
  return streams.contains(stream) ? stream : nullptr;
}

cudaError_t Runtime::enqueue(cudaStream_t handle, Operation operation) {
  CUstream_st* const stream = resolve(handle);
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (stream->capture != nullptr) {
    if (stream->capture->invalid) return cudaErrorStreamCaptureInvalidated;
    stream->capture->graph->nodes.push_back(std::move(operation));
    if (stream != stream->capture->origin) stream->capture->unjoined.insert(stream);
    return cudaSuccess;
  }
  // The default stream keeps order with all blocking streams.
  if (stream == &default_stream_) {
    for (CUstream_st* other : streams) {
      if (other->queue->blocking()) operation.waits.push_back({other->queue, other->queue->added()});
    }
  } else if (stream->queue->blocking()) {
    operation.waits.push_back({default_stream_.queue, default_stream_.queue->added()});
  }
  stream->queue->add(std::move(operation));
  return cudaSuccess;
}

void Runtime::run_everything() {
  default_stream_.queue->run_all();
  for (CUstream_st* stream : streams) stream->queue->run_all();
}

cudaError_t Runtime::refuse_during_capture() {
  cudaError_t result = cudaSuccess;
  for (CUstream_st* stream : streams) {
    if (stream->capture == nullptr || stream->capture->mode == cudaStreamCaptureModeRelaxed) continue;
    stream->capture->invalid = true;
    result = cudaErrorStreamCaptureUnsupported;
  }
  return result;
}

void fail_call(int64_t n, int error) {
  Runtime::instance().fail_call(n, static_cast<cudaError_t>(error));
}

int64_t calls() {
  return Runtime::instance().calls();
}

int64_t waits() {
  return Runtime::instance().waits();
}

std::vector<std::string> live_objects() {
  Runtime& runtime = Runtime::instance();
  std::vector<std::string> objects;
  for (const DeviceMemory::Allocation* allocation : DeviceMemory::instance().live()) {
    objects.push_back("device memory: allocation " + std::to_string(allocation->number) + " of " +
                      std::to_string(allocation->bytes) + " bytes");
  }
  for (const auto& [address, bytes] : runtime.pinned)
    objects.push_back("host memory of " + std::to_string(bytes) + " bytes");
  const auto count = [&](const char* kind, size_t number) {
    if (number > 0) objects.push_back(std::to_string(number) + " " + kind + (number > 1 ? "s" : ""));
  };
  count("stream", runtime.streams.size());
  count("event", runtime.events.size());
  count("graph", runtime.graphs.size());
  count("instantiated graph", runtime.graph_execs.size());
  return objects;
}

}  // namespace minidl::emulator

using minidl::emulator::Runtime;

cudaError_t cudaGetLastError() {
  const cudaError_t error = cudaPeekAtLastError();
  Runtime::last_error() = cudaSuccess;
  return error;
}

cudaError_t cudaPeekAtLastError() {
  const cudaError_t sticky = Runtime::instance().sticky_error();
  return sticky != cudaSuccess ? sticky : Runtime::last_error();
}
