#include <emulator/runtime.h>

#include <algorithm>

using namespace minidl::emulator;

namespace {

/// Every node of a graph, one after another, as one operation of a stream.
Operation replay(const CUgraphExec_st& exec) {
  return {"graph",
          nullptr,
          [nodes = exec.nodes] {
            for (const Operation& node : nodes) {
              if (Runtime::instance().sticky_error() == cudaSuccess) node.run();
            }
          },
          {}};
}

bool same_topology(const std::vector<Operation>& a, const std::vector<Operation>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Operation& x, const Operation& y) {
    return x.name == y.name && x.function == y.function;
  });
}

}  // namespace

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  Runtime& runtime = Runtime::instance();
  return runtime.call([&] {
    // The default stream cannot be captured.
    if (!runtime.streams.contains(stream))
      return stream == nullptr ? cudaErrorStreamCaptureUnsupported : cudaErrorInvalidResourceHandle;
    if (stream->capture != nullptr) return cudaErrorInvalidValue;
    stream->capture = std::make_shared<Capture>();
    stream->capture->origin = stream;
    stream->capture->mode = mode;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  Runtime& runtime = Runtime::instance();
  return runtime.call([&] {
    *graph = nullptr;
    if (!runtime.streams.contains(stream)) return cudaErrorInvalidResourceHandle;
    const std::shared_ptr<Capture> capture = stream->capture;
    if (capture == nullptr || capture->origin != stream) return cudaErrorInvalidValue;
    for (CUstream_st* other : runtime.streams) {
      if (other->capture == capture) other->capture = nullptr;
    }
    if (capture->invalid) return cudaErrorStreamCaptureInvalidated;
    if (!capture->unjoined.empty()) return cudaErrorStreamCaptureUnjoined;
    *graph = capture->graph.release();
    runtime.graphs.insert(*graph);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  Runtime& runtime = Runtime::instance();
  return runtime.call([&] {
    const CUstream_st* const stream = runtime.resolve(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    *status = stream->capture == nullptr ? cudaStreamCaptureStatusNone
              : stream->capture->invalid ? cudaStreamCaptureStatusInvalidated
                                         : cudaStreamCaptureStatusActive;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  Runtime& runtime = Runtime::instance();
  return runtime.call([&] {
    if (!runtime.graphs.contains(graph)) return cudaErrorInvalidValue;
    *exec = new CUgraphExec_st{graph->nodes};
    runtime.graph_execs.insert(*exec);
    return cudaSuccess;
  });
}

cudaError_t cudaGraphExecUpdate(cudaGraphExec_t exec, cudaGraph_t graph, cudaGraphExecUpdateResultInfo* result) {
  Runtime& runtime = Runtime::instance();
  return runtime.call([&] {
    *result = {cudaGraphExecUpdateError, nullptr, nullptr};
    if (!runtime.graph_execs.contains(exec) || !runtime.graphs.contains(graph)) return cudaErrorInvalidValue;
    if (!same_topology(exec->nodes, graph->nodes)) {
      result->result = cudaGraphExecUpdateErrorTopologyChanged;
      return cudaErrorGraphExecUpdateFailure;
    }
    exec->nodes = graph->nodes;
    result->result = cudaGraphExecUpdateSuccess;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  Runtime& runtime = Runtime::instance();
  return runtime.call([&] {
    if (!runtime.graph_execs.contains(exec)) return cudaErrorInvalidValue;
    return runtime.enqueue(stream, replay(*exec));
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  Runtime& runtime = Runtime::instance();
  return runtime.call([&] {
    if (runtime.graphs.erase(graph) == 0) return cudaErrorInvalidValue;
    delete graph;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  Runtime& runtime = Runtime::instance();
  return runtime.call([&] {
    if (runtime.graph_execs.erase(exec) == 0) return cudaErrorInvalidValue;
    delete exec;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  Runtime& runtime = Runtime::instance();
  return runtime.call([&] {
    // Nodes have no handles here: only their number can be asked for.
    if (!runtime.graphs.contains(graph) || nodes != nullptr) return cudaErrorInvalidValue;
    *count = graph->nodes.size();
    return cudaSuccess;
  });
}
