#include <minidl/core/cuda/backend.h>
#include <minidl/core/cuda/stream.h>
#include <minidl/core/error.h>
#include <minidl/kernels/cudnn/execute.h>
#include <minidl/kernels/cudnn/graph.h>

namespace minidl::cudnn {
namespace {

/// cuDNN's state for one device. Lives until the program ends, and so do the plans: at that time the driver may be gone
/// already.
struct DeviceState {
  explicit DeviceState(int device) : plans(device) {}

  Plans plans;
  std::mutex mutex;  // of the handle, which one thread may use at a time
  cudnnHandle_t handle = nullptr;
};

DeviceState& current_state() {
  static std::mutex mutex;
  static auto& states = *new std::map<int, std::unique_ptr<DeviceState>>;
  const int device = cuda::current_device().index;
  const std::scoped_lock lock(mutex);
  std::unique_ptr<DeviceState>& state = states[device];
  if (!state) state = std::make_unique<DeviceState>(device);
  return *state;
}

}  // namespace

Plans& current_plans() {
  return current_state().plans;
}

void execute(const Plan& plan, const Operands& operands) {
  MINIDL_CHECK(plan.refusal.empty(), "{}", plan.refusal);
  // The memory may be given to somebody else when this returns: their work comes later on the same stream.
  const Tensor workspace = Tensor::empty({plan.workspace_bytes}, Dtype::u8, cuda::current_device());
  const int64_t names[] = {kInput, kWeight, kOutput, kBias};
  void* const pointers[] = {const_cast<float*>(operands.input), const_cast<float*>(operands.weight),
                            const_cast<float*>(operands.output), const_cast<float*>(operands.bias)};
  const size_t count = operands.bias ? 4 : 3;
  Descriptor bindings(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  bindings.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, std::span<const int64_t>(names, count));
  bindings.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, std::span<void* const>(pointers, count));
  bindings.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, static_cast<void*>(const_cast<uint8_t*>(workspace.data<uint8_t>())));
  bindings.finalize("the tensors of a plan");

  DeviceState& state = current_state();
  const std::scoped_lock lock(state.mutex);
  if (!state.handle) check(library().cudnnCreate(&state.handle), "a handle");
  check(library().cudnnSetStream(state.handle, cuda::current_stream()), "the stream of a handle");
  check(library().cudnnBackendExecute(state.handle, plan.descriptor->handle(), bindings.handle()), "a convolution");
}

}  // namespace minidl::cudnn
