#include <minidl/core/cuda/check.h>
#include <minidl/core/cuda/stream.h>

namespace minidl::cuda {

void fail_call(const char* expression, cudaError_t error, const char* file, int line) {
  static_cast<void>(cudaGetLastError());
  fail("[cuda] {} failed: {} ({}) at {}:{}", expression, cudaGetErrorName(error), cudaGetErrorString(error), file,
       line);
}

Stream::Stream() {
  cudaStream_t stream = nullptr;
  MINIDL_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  stream_ = Owner<cudaStream_t, cudaStreamDestroy>(stream);
}

void Stream::synchronize() const {
  MINIDL_CUDA_CHECK(cudaStreamSynchronize(get()));
}

Event::Event() {
  cudaEvent_t event = nullptr;
  MINIDL_CUDA_CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  event_ = Owner<cudaEvent_t, cudaEventDestroy>(event);
}

void Event::record(cudaStream_t stream) {
  MINIDL_CUDA_CHECK(cudaEventRecord(event_.get(), stream));
}

void Event::synchronize() const {
  MINIDL_CUDA_CHECK(cudaEventSynchronize(event_.get()));
}

void Event::hold(cudaStream_t stream) const {
  MINIDL_CUDA_CHECK(cudaStreamWaitEvent(stream, event_.get(), 0));
}

namespace {

/// A first answer may be the failure of earlier work, with the stream still recording: then it is ended once more, for
/// those who use it next.
cudaError_t end_capture(cudaStream_t stream, cudaGraph_t* captured) {
  const cudaError_t ended = cudaStreamEndCapture(stream, captured);
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  if (ended == cudaSuccess || cudaStreamIsCapturing(stream, &status) != cudaSuccess) return ended;
  if (status == cudaStreamCaptureStatusNone) return ended;
  cudaGraph_t rest = nullptr;
  static_cast<void>(cudaStreamEndCapture(stream, &rest));
  if (rest) static_cast<void>(cudaGraphDestroy(rest));
  return ended;
}

}  // namespace

bool Graph::record(cudaStream_t stream, const std::function<void()>& work) {
  // Relaxed: memory may be taken from the device while work is recorded.
  MINIDL_CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
  cudaGraph_t captured = nullptr;
  try {
    work();
  } catch (...) {
    const cudaError_t ended = end_capture(stream, &captured);
    static_cast<void>(cudaGetLastError());
    if (captured) static_cast<void>(cudaGraphDestroy(captured));
    if (ended == cudaErrorStreamCaptureInvalidated) return false;
    throw;
  }
  const cudaError_t ended = end_capture(stream, &captured);
  const Owner<cudaGraph_t, cudaGraphDestroy> graph(captured);
  if (ended == cudaErrorStreamCaptureInvalidated) {
    static_cast<void>(cudaGetLastError());
    return false;
  }
  MINIDL_CUDA_CHECK(ended);
  if (exec_) {
    cudaGraphExecUpdateResultInfo result{};
    if (cudaGraphExecUpdate(exec_.get(), graph.get(), &result) == cudaSuccess) return true;
    static_cast<void>(cudaGetLastError());  // of another form
    exec_.reset();
  }
  cudaGraphExec_t exec = nullptr;
  MINIDL_CUDA_CHECK(cudaGraphInstantiate(&exec, graph.get(), 0));
  exec_ = Owner<cudaGraphExec_t, cudaGraphExecDestroy>(exec);
  return true;
}

void Graph::launch(cudaStream_t stream) const {
  MINIDL_CHECK(exec_, "[cuda] a graph without a recording was launched");
  MINIDL_CUDA_CHECK(cudaGraphLaunch(exec_.get(), stream));
}

PinnedMemory::PinnedMemory(size_t bytes) {
  void* memory = nullptr;
  MINIDL_CUDA_CHECK(cudaHostAlloc(&memory, bytes, cudaHostAllocDefault));
  memory_ = Owner<void*, cudaFreeHost>(memory);
}

}  // namespace minidl::cuda
