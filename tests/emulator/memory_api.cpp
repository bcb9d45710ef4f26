#include <emulator/block.h>
#include <emulator/device_memory.h>
#include <emulator/findings.h>
#include <emulator/runtime.h>

#include <cstdlib>
#include <cstring>
#include <memory>

namespace minidl::emulator {
namespace {

DeviceMemory& memory() {
  return DeviceMemory::instance();
}

/// Whether bytes lie in one block of pinned host memory.
bool pinned(const void* address, size_t bytes) {
  const auto& blocks = Runtime::instance().pinned;
  const auto* const byte = static_cast<const std::byte*>(address);
  auto found = blocks.upper_bound(byte);
  if (found == blocks.begin()) return false;
  --found;
  return byte + bytes <= found->first + found->second;
}

/// Whether an address is of the side that a copy says it is of, and all bytes are there.
bool right_side(const void* address, size_t bytes, bool device) {
  return memory().contains(address) ? device && memory().valid(address, bytes) : !device;
}

cudaError_t check_copy(const void* target, const void* source, size_t bytes, cudaMemcpyKind kind) {
  bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (kind == cudaMemcpyDefault) {
    to_device = memory().contains(target);
    from_device = memory().contains(source);
  } else if (kind < cudaMemcpyHostToHost || kind > cudaMemcpyDefault) {
    return cudaErrorInvalidMemcpyDirection;
  }
  return right_side(target, bytes, to_device) && right_side(source, bytes, from_device) ? cudaSuccess
                                                                                        : cudaErrorInvalidValue;
}

/// Work of a stream on memory that was there when it was enqueued; what became of it since is found now.
bool still_there(const char* what, const void* address, size_t bytes) {
  if (!memory().contains(address) || memory().valid(address, bytes)) return true;
  add_finding(memory().fault_at(address),
              std::string(what) + " of " + std::to_string(bytes) + " bytes at " + memory().describe(address));
  return false;
}

Operation copy_operation(void* target, const void* source, size_t bytes) {
  return {"memcpy",
          nullptr,
          [=] {
            if (!still_there("copy to", target, bytes) || !still_there("copy from", source, bytes)) return;
            const DeviceMemory::Open open;
            std::memmove(target, source, bytes);
          },
          {}};
}

/// The copy of host memory that CUDA makes before an asynchronous copy from pageable memory returns.
Operation staged_copy(void* target, const void* source, size_t bytes) {
  const auto* const begin = static_cast<const std::byte*>(source);
  const auto staged = std::make_shared<std::vector<std::byte>>(begin, begin + bytes);
  Operation operation = copy_operation(target, staged->data(), bytes);
  operation.run = [staged, run = std::move(operation.run)] { run(); };
  return operation;
}

cudaError_t copy(void* target, const void* source, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream, bool wait) {
  Runtime& runtime = Runtime::instance();
  if (bytes == 0) return cudaSuccess;
  if (const cudaError_t error = check_copy(target, source, bytes, kind); error != cudaSuccess) return error;
  CUstream_st* const resolved = runtime.resolve(stream);
  if (resolved == nullptr) return cudaErrorInvalidResourceHandle;
  const bool capturing = resolved->capture != nullptr;
  const bool from_pageable = !memory().contains(source) && !pinned(source, bytes);
  const bool to_pageable = !memory().contains(target) && !pinned(target, bytes);
  const bool stage = from_pageable && !capturing && !wait;
  const cudaError_t error =
      runtime.enqueue(stream, stage ? staged_copy(target, source, bytes) : copy_operation(target, source, bytes));
  if (error != cudaSuccess) return error;
  if (!capturing && (wait || to_pageable)) {
    resolved->queue->run_all();
    return runtime.waited();
  }
  return cudaSuccess;
}

cudaError_t set(void* target, int value, size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  if (!memory().valid(target, bytes)) return cudaErrorInvalidValue;
  return Runtime::instance().enqueue(stream, {"memset",
                                              nullptr,
                                              [=] {
                                                if (!still_there("memset", target, bytes)) return;
                                                const DeviceMemory::Open open;
                                                std::memset(target, value, bytes);
                                              },
                                              {}});
}

void free_now(void* pointer) {
  if (memory().free(pointer)) return;
  add_finding(Fault::bad_free, memory().describe(pointer) + " is no allocation that could be freed");
}

}  // namespace
}  // namespace minidl::emulator

using namespace minidl::emulator;

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  Runtime& runtime = Runtime::instance();
  return runtime.call([&] {
    if (const cudaError_t error = runtime.refuse_during_capture(); error != cudaSuccess) return error;
    *pointer = bytes == 0 ? nullptr : memory().allocate(bytes);
    return bytes > 0 && *pointer == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
  });
}

cudaError_t cudaFree(void* pointer) {
  Runtime& runtime = Runtime::instance();
  return runtime.call([&] {
    if (const cudaError_t error = runtime.refuse_during_capture(); error != cudaSuccess) return error;
    if (pointer == nullptr) return cudaSuccess;
    runtime.run_everything();  // cudaFree waits for the device
    free_now(pointer);
    return runtime.waited();
  });
}

cudaError_t cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t stream) {
  Runtime& runtime = Runtime::instance();
  return runtime.call([&] {
    const CUstream_st* const resolved = runtime.resolve(stream);
    if (resolved == nullptr) return cudaErrorInvalidResourceHandle;
    if (resolved->capture != nullptr) return cudaErrorStreamCaptureUnsupported;
    *pointer = bytes == 0 ? nullptr : memory().allocate(bytes);
    return bytes > 0 && *pointer == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
  });
}

cudaError_t cudaFreeAsync(void* pointer, cudaStream_t stream) {
  Runtime& runtime = Runtime::instance();
  return runtime.call([&] {
    const CUstream_st* const resolved = runtime.resolve(stream);
    if (resolved == nullptr) return cudaErrorInvalidResourceHandle;
    if (resolved->capture != nullptr) return cudaErrorStreamCaptureUnsupported;
    if (pointer == nullptr) return cudaSuccess;
    return runtime.enqueue(stream, {"free", nullptr, [pointer] { free_now(pointer); }, {}});
  });
}

cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned) {
  Runtime& runtime = Runtime::instance();
  return runtime.call([&] {
    constexpr size_t kPage = 4096;
    *pointer = std::aligned_alloc(kPage, (bytes + kPage - 1) / kPage * kPage);
    if (*pointer == nullptr) return cudaErrorMemoryAllocation;
    runtime.pinned.emplace(static_cast<const std::byte*>(*pointer), bytes);
    return cudaSuccess;
  });
}

cudaError_t cudaFreeHost(void* pointer) {
  Runtime& runtime = Runtime::instance();
  return runtime.call([&] {
    if (pointer == nullptr) return cudaSuccess;
    if (runtime.pinned.erase(static_cast<const std::byte*>(pointer)) == 0) return cudaErrorInvalidValue;
    runtime.run_everything();
    std::free(pointer);
    return runtime.waited();
  });
}

cudaError_t cudaMemcpy(void* target, const void* source, size_t bytes, cudaMemcpyKind kind) {
  Runtime& runtime = Runtime::instance();
  return runtime.call([&] {
    if (const cudaError_t error = runtime.refuse_during_capture(); error != cudaSuccess) return error;
    return copy(target, source, bytes, kind, nullptr, true);
  });
}

cudaError_t cudaMemcpyAsync(void* target, const void* source, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return Runtime::instance().call([&] { return copy(target, source, bytes, kind, stream, false); });
}

cudaError_t cudaMemset(void* target, int value, size_t bytes) {
  Runtime& runtime = Runtime::instance();
  return runtime.call([&] {
    if (const cudaError_t error = runtime.refuse_during_capture(); error != cudaSuccess) return error;
    return set(target, value, bytes, nullptr);
  });
}

cudaError_t cudaMemsetAsync(void* target, int value, size_t bytes, cudaStream_t stream) {
  return Runtime::instance().call([&] { return set(target, value, bytes, stream); });
}
