#include <emulator/device_description.h>
#include <emulator/device_memory.h>
#include <emulator/runtime.h>

#include <algorithm>

using minidl::emulator::device_description;
using minidl::emulator::DeviceDescription;
using minidl::emulator::Runtime;

namespace {
constexpr int kVersion = 13000;  // of the toolkit whose behaviour is emulated: 13.0
}

cudaError_t cudaGetDeviceCount(int* count) {
  return Runtime::instance().call([&] {
    *count = 1;
    return cudaSuccess;
  });
}

cudaError_t cudaDriverGetVersion(int* version) {
  return Runtime::instance().call([&] {
    *version = kVersion;
    return cudaSuccess;
  });
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  return cudaDriverGetVersion(version);
}

cudaError_t cudaGetDevice(int* device) {
  return Runtime::instance().call([&] {
    *device = 0;
    return cudaSuccess;
  });
}

cudaError_t cudaSetDevice(int device) {
  return Runtime::instance().call([&] { return device == 0 ? cudaSuccess : cudaErrorInvalidDevice; });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  return Runtime::instance().call([&] {
    if (device != 0) return cudaErrorInvalidDevice;
    const DeviceDescription& description = device_description();
    *properties = {};
    description.name.copy(properties->name, sizeof properties->name - 1);
    properties->totalGlobalMem = description.total_memory;
    properties->sharedMemPerBlock = description.shared_per_block;
    properties->sharedMemPerBlockOptin = description.shared_per_block_optin;
    properties->sharedMemPerMultiprocessor = description.shared_per_multiprocessor;
    properties->regsPerBlock = description.registers_per_block;
    properties->regsPerMultiprocessor = description.registers_per_multiprocessor;
    properties->warpSize = 32;
    properties->maxThreadsPerBlock = description.threads_per_block;
    properties->maxThreadsPerMultiProcessor = description.threads_per_multiprocessor;
    properties->maxBlocksPerMultiProcessor = description.blocks_per_multiprocessor;
    std::copy_n(description.max_block, 3, properties->maxThreadsDim);
    std::copy_n(description.max_grid, 3, properties->maxGridSize);
    properties->major = description.major;
    properties->minor = description.minor;
    properties->multiProcessorCount = description.multiprocessors;
    properties->l2CacheSize = description.l2_bytes;
    return cudaSuccess;
  });
}

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  return Runtime::instance().call([&] {
    *total_bytes = device_description().total_memory;
    *free_bytes = *total_bytes - minidl::emulator::DeviceMemory::instance().in_use();
    return cudaSuccess;
  });
}
