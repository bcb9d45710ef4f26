#pragma once
#include <cstddef>
#include <string>

namespace minidl::emulator {

/// A device as a JSON file in devices/ describes it; the fields have the names and units of cudaDeviceProp.
struct DeviceDescription {
  std::string name;
  int major = 0, minor = 0;
  int multiprocessors = 0;
  size_t total_memory = 0;
  size_t shared_per_block = 0, shared_per_block_optin = 0, shared_per_multiprocessor = 0;
  int registers_per_block = 0, registers_per_multiprocessor = 0;
  int threads_per_block = 0, threads_per_multiprocessor = 0, blocks_per_multiprocessor = 0;
  int max_block[3] = {}, max_grid[3] = {};
  int l2_bytes = 0;
};

/// Of the emulated device; read at the first use.
const DeviceDescription& device_description();

}  // namespace minidl::emulator
