#include <minidl/core/cuda/backend.h>
#include <minidl/core/cuda/check.h>
#include <minidl/core/cuda/pooled_allocator.h>
#include <minidl/core/cuda/stream.h>

#include <cstdlib>
#include <map>
#include <mutex>
#include <string_view>

namespace minidl::cuda {
namespace {

/// Memory of one device. Freeing waits for the device, so what still reads a segment is done when it goes.
class DeviceSource final : public RawSource {
 public:
  explicit DeviceSource(int index) : index_(index) {}
  void* allocate(size_t bytes) override {
    const DeviceScope scope(index_);
    void* pointer = nullptr;
    const cudaError_t error = cudaMalloc(&pointer, bytes);
    if (error == cudaSuccess) return pointer;
    if (error != cudaErrorMemoryAllocation) fail_call("cudaMalloc(&pointer, bytes)", error, __FILE__, __LINE__);
    static_cast<void>(cudaGetLastError());
    return nullptr;
  }
  void release(void* pointer, size_t) noexcept override {
    // What is answered may be the failure of earlier work; the second time the memory is free. At the end of a program
    // the runtime may be gone already.
    for (int i = 0; i < 2 && cudaFree(pointer) != cudaSuccess; ++i) static_cast<void>(cudaGetLastError());
  }

 private:
  int index_;
};

/// Numbers in device memory that are 0.
class DeviceCounters {
 public:
  explicit DeviceCounters(cudaStream_t stream) {
    void* memory = nullptr;
    MINIDL_CUDA_CHECK(cudaMalloc(&memory, kArrivals * sizeof(unsigned)));
    counters_ = Owner<void*, cudaFree>(memory);
    MINIDL_CUDA_CHECK(cudaMemsetAsync(memory, 0, kArrivals * sizeof(unsigned), stream));
  }
  unsigned* get() const { return static_cast<unsigned*>(counters_.get()); }
  void release() noexcept { counters_.reset(); }

 private:
  Owner<void*, cudaFree> counters_;
};

CachingAllocator::Keeps what_is_kept() {
  const char* setting = std::getenv("MINIDL_CUDA_CACHING");
  return setting && std::string_view(setting) == "0" ? CachingAllocator::Keeps::nothing
                                                     : CachingAllocator::Keeps::segments;
}

struct DeviceState {
  explicit DeviceState(int index) : source(index) {}

  Stream stream;
  DeviceSource source;
  PooledAllocator allocator{source, what_is_kept()};
  DeviceCounters arrivals{stream.get()};
};

struct Devices {
  int count = 0;
  std::string reason;
};

Devices find_devices() {
  int present = 0;
  const cudaError_t error = cudaGetDeviceCount(&present);
  if (error != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    return {0, std::string("CUDA finds no device: ") + cudaGetErrorString(error)};
  }
  Devices devices{0, "this machine has no CUDA device"};
  for (; devices.count < present; ++devices.count) {
    cudaDeviceProp properties{};
    MINIDL_CUDA_CHECK(cudaGetDeviceProperties(&properties, devices.count));
    if (10 * properties.major + properties.minor >= MINIDL_CUDA_OLDEST_ARCHITECTURE) continue;
    devices.reason = detail::format_message(
        "{} has compute capability {}.{}, older than this build is for; from 8.0 on, configure with "
        "MINIDL_CUDA_ARCHITECTURES={}{}",
        {properties.name, std::to_string(properties.major), std::to_string(properties.minor),
         std::to_string(properties.major), std::to_string(properties.minor)});
    break;
  }
  return devices;
}

/// Once a device was found there is one; without one, it is looked for again each time.
const Devices& devices() {
  static std::mutex mutex;
  static Devices& found = *new Devices;
  const std::scoped_lock lock(mutex);
  if (found.count == 0) found = find_devices();
  return found;
}

std::mutex states_mutex;

/// Objects that live until the program ends: tensors with static storage duration may outlive what could destroy them.
/// Only what is not in use is given back, before the runtime goes.
std::map<int, DeviceState*>& states() {
  static std::map<int, DeviceState*>& all = *[] {
    std::atexit([] {
      for (const auto& [index, state] : states()) {
        if (!state) continue;  // its making failed
        state->allocator.release_cached();
        state->stream = Stream(nullptr);
        state->arrivals.release();
      }
    });
    return new std::map<int, DeviceState*>;
  }();
  return all;
}

DeviceState& state_of(int index) {
  const std::scoped_lock lock(states_mutex);
  DeviceState*& state = states()[index];
  if (!state) {
    const DeviceScope scope(index);
    state = new DeviceState(index);
  }
  return *state;
}

cudaStream_t stream_of(int index) {
  return state_of(index).stream.get();
}

}  // namespace

int device_count() {
  return devices().count;
}

const std::string& unavailable_reason() {
  return devices().reason;
}

std::string machine_name(int index) {
  cudaDeviceProp properties{};
  int driver = 0, runtime = 0;
  MINIDL_CUDA_CHECK(cudaGetDeviceProperties(&properties, index));
  MINIDL_CUDA_CHECK(cudaDriverGetVersion(&driver));
  MINIDL_CUDA_CHECK(cudaRuntimeGetVersion(&runtime));
  const auto text = [](int version) { return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10); };
  return detail::format_message("{}, compute capability {}.{}, driver {}, runtime {}",
                                {properties.name, std::to_string(properties.major), std::to_string(properties.minor),
                                 text(driver), text(runtime)});
}

DeviceScope::DeviceScope(int index) {
  MINIDL_CUDA_CHECK(cudaGetDevice(&before_));
  if (before_ != index) MINIDL_CUDA_CHECK(cudaSetDevice(index));
}

DeviceScope::~DeviceScope() {
  int now = 0;
  if (cudaGetDevice(&now) == cudaSuccess && now != before_) static_cast<void>(cudaSetDevice(before_));
}

Device current_device() {
  int index = 0;
  MINIDL_CUDA_CHECK(cudaGetDevice(&index));
  return {Device::Kind::cuda, index};
}

cudaStream_t current_stream() {
  return stream_of(current_device().index);
}

unsigned* arrivals() {
  return state_of(current_device().index).arrivals.get();
}

Allocator& allocator(int index) {
  MINIDL_CHECK(index >= 0 && index<device_count(), "[cuda] cuda:{} is not usable: {}", index, device_count()> 0
                   ? "there are " + std::to_string(device_count())
                   : unavailable_reason());
  return state_of(index).allocator;
}

void copy(void* target, Device target_device, const void* source, Device source_device, size_t bytes) {
  if (bytes == 0) return;
  const bool to_host = target_device.kind == Device::Kind::cpu, from_host = source_device.kind == Device::Kind::cpu;
  const bool between = !to_host && !from_host && target_device != source_device;
  if (between) synchronize(source_device.index);
  const DeviceScope scope(to_host ? source_device.index : target_device.index);
  const cudaStream_t stream = current_stream();
  MINIDL_CUDA_CHECK(cudaMemcpyAsync(target, source, bytes, cudaMemcpyDefault, stream));
  if (to_host || from_host || between) MINIDL_CUDA_CHECK(cudaStreamSynchronize(stream));
}

void clear(void* memory, size_t bytes, int index) {
  const DeviceScope scope(index);
  MINIDL_CUDA_CHECK(cudaMemsetAsync(memory, 0, bytes, stream_of(index)));
}

void synchronize(int index) {
  const DeviceScope scope(index);
  MINIDL_CUDA_CHECK(cudaStreamSynchronize(stream_of(index)));
}

}  // namespace minidl::cuda
