#pragma once
#include <minidl/core/allocator.h>

#include <cstddef>
#include <cstdint>
#include <string>

/// What the rest of the library asks of CUDA, without its types. A build without CUDA has no device, and everything
/// that names one throws Error.
///
/// Each device has one stream. All work of the process on that device is put on it, so that copies and kernels run in
/// the order of the calls, and a block of memory may be used again as soon as the host has let it go.
namespace minidl::cuda {

/// Devices that this build has code for, counted from 0 up to the first one that cannot be used.
int device_count();
/// Why device_count() is 0: one sentence without a full stop.
const std::string& unavailable_reason();

/// All below throw Error for a device that is not there, and when a call of CUDA fails.

/// Of a device, with what times on it depend on: "NVIDIA H100, compute capability 9.0, driver 13.0, runtime 13.0".
std::string machine_name(int index);

/// Makes a device the one that CUDA calls of this thread use; the one before returns at the end.
class DeviceScope {
 public:
  explicit DeviceScope(int index);
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  int before_ = 0;
};

/// The device that CUDA calls of this thread use.
Device current_device();

/// The caching allocator of a device. With MINIDL_CUDA_CACHING=0 in the environment every tensor is an allocation of
/// its own instead, so that tools which check memory see where each one ends.
Allocator& allocator(int index);

/// Copies between a device and the host, within a device, or between two devices. What lies on the host may be used
/// again when this returns.
void copy(void* target, Device target_device, const void* source, Device source_device, size_t bytes);
/// Sets bytes to 0.
void clear(void* memory, size_t bytes, int index);
/// x[i] = value for i < count.
void fill(float* x, int64_t count, float value, int index);
/// Waits until all work on the device is done; throws Error when some of it failed.
void synchronize(int index);

}  // namespace minidl::cuda
