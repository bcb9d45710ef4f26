#include <emulator/runtime.h>

using namespace minidl::emulator;

namespace {

/// The stream of a handle, or the error that says that there is none, or that it is being captured and cannot be waited
/// for.
cudaError_t waitable(Runtime& runtime, cudaStream_t handle, CUstream_st*& stream) {
  stream = runtime.resolve(handle);
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (stream->capture == nullptr) return cudaSuccess;
  stream->capture->invalid = true;
  return cudaErrorStreamCaptureUnsupported;
}

cudaError_t query(const Wait& wait) {
  return wait.queue == nullptr || wait.queue->done() >= wait.position ? cudaSuccess : cudaErrorNotReady;
}

/// A stream that waits for an event of a capture joins it.
cudaError_t join_capture(Runtime& runtime, CUstream_st* stream, const CUevent_st& event) {
  const std::shared_ptr<Capture> capture = event.capture.lock();
  if (stream->capture != nullptr && stream->capture != capture) {
    stream->capture->invalid = true;
    return cudaErrorStreamCaptureUnsupported;
  }
  if (stream == runtime.resolve(nullptr)) return cudaErrorStreamCaptureUnsupported;
  stream->capture = capture;
  if (stream == capture->origin) {
    capture->unjoined.erase(event.captured_on);
  } else {
    capture->unjoined.insert(stream);
  }
  return cudaSuccess;
}

}  // namespace

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  Runtime& runtime = Runtime::instance();
  return runtime.call([&] {
    if (flags > cudaStreamNonBlocking) return cudaErrorInvalidValue;
    *stream = new CUstream_st{std::make_shared<Queue>((flags & cudaStreamNonBlocking) == 0), nullptr};
    runtime.streams.insert(*stream);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  Runtime& runtime = Runtime::instance();
  return runtime.call([&] {
    if (!runtime.streams.contains(stream)) return cudaErrorInvalidResourceHandle;
    stream->queue->run_all();
    if (stream->capture != nullptr) stream->capture->invalid = true;
    runtime.streams.erase(stream);
    delete stream;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  Runtime& runtime = Runtime::instance();
  return runtime.call([&] {
    CUstream_st* stream = nullptr;
    if (const cudaError_t error = waitable(runtime, handle, stream); error != cudaSuccess) return error;
    stream->queue->run_all();
    return runtime.waited();
  });
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
  Runtime& runtime = Runtime::instance();
  return runtime.call([&] {
    CUstream_st* stream = nullptr;
    if (const cudaError_t error = waitable(runtime, handle, stream); error != cudaSuccess) return error;
    return query({stream->queue, stream->queue->added()});
  });
}

cudaError_t cudaDeviceSynchronize() {
  Runtime& runtime = Runtime::instance();
  return runtime.call([&] {
    if (const cudaError_t error = runtime.refuse_during_capture(); error != cudaSuccess) return error;
    runtime.run_everything();
    return runtime.waited();
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned) {
  Runtime& runtime = Runtime::instance();
  return runtime.call([&] {
    CUstream_st* const stream = runtime.resolve(handle);
    if (stream == nullptr || !runtime.events.contains(event)) return cudaErrorInvalidResourceHandle;
    if (event->capture.lock() != nullptr) return join_capture(runtime, stream, *event);
    if (stream->capture != nullptr) return cudaErrorStreamCaptureIsolation;
    if (event->recorded.queue == nullptr) return cudaSuccess;  // never recorded: nothing to wait for
    return runtime.enqueue(handle, {"wait", nullptr, [] {}, {event->recorded}});
  });
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  Runtime& runtime = Runtime::instance();
  return runtime.call([&] {
    *event = new CUevent_st;
    runtime.events.insert(*event);
    return cudaSuccess;
  });
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  Runtime& runtime = Runtime::instance();
  return runtime.call([&] {
    if (runtime.events.erase(event) == 0) return cudaErrorInvalidResourceHandle;
    delete event;
    return cudaSuccess;
  });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle) {
  Runtime& runtime = Runtime::instance();
  return runtime.call([&] {
    CUstream_st* const stream = runtime.resolve(handle);
    if (stream == nullptr || !runtime.events.contains(event)) return cudaErrorInvalidResourceHandle;
    event->capture = stream->capture;
    event->captured_on = stream->capture == nullptr ? nullptr : stream;
    if (stream->capture != nullptr) return cudaSuccess;
    const cudaError_t error = runtime.enqueue(handle, {"record", nullptr, [] {}, {}});
    event->recorded = {stream->queue, stream->queue->added()};
    return error;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  Runtime& runtime = Runtime::instance();
  return runtime.call([&] {
    if (!runtime.events.contains(event)) return cudaErrorInvalidResourceHandle;
    if (event->capture.lock() != nullptr) return cudaErrorStreamCaptureUnsupported;
    if (event->recorded.queue != nullptr) event->recorded.queue->run_until(event->recorded.position);
    return runtime.waited();
  });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  Runtime& runtime = Runtime::instance();
  return runtime.call([&] {
    if (!runtime.events.contains(event)) return cudaErrorInvalidResourceHandle;
    if (event->capture.lock() != nullptr) return cudaErrorStreamCaptureUnsupported;
    return query(event->recorded);
  });
}
