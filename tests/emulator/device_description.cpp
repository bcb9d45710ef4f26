#include <emulator/device_description.h>
#include <emulator/emulator.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

namespace minidl::emulator {
namespace {

DeviceDescription read(const std::string& path) {
  try {
    std::ifstream stream(path);
    const nlohmann::json json = nlohmann::json::parse(stream);
    DeviceDescription device;
    device.name = json.at("name");
    device.major = json.at("major");
    device.minor = json.at("minor");
    device.multiprocessors = json.at("multiProcessorCount");
    device.total_memory = json.at("totalGlobalMem");
    device.shared_per_block = json.at("sharedMemPerBlock");
    device.shared_per_block_optin = json.at("sharedMemPerBlockOptin");
    device.shared_per_multiprocessor = json.at("sharedMemPerMultiprocessor");
    device.registers_per_block = json.at("regsPerBlock");
    device.registers_per_multiprocessor = json.at("regsPerMultiprocessor");
    device.threads_per_block = json.at("maxThreadsPerBlock");
    device.threads_per_multiprocessor = json.at("maxThreadsPerMultiProcessor");
    device.blocks_per_multiprocessor = json.at("maxBlocksPerMultiProcessor");
    for (int i = 0; i < 3; ++i) device.max_block[i] = json.at("maxThreadsDim").at(i);
    for (int i = 0; i < 3; ++i) device.max_grid[i] = json.at("maxGridSize").at(i);
    device.l2_bytes = json.at("l2CacheSize");
    return device;
  } catch (const nlohmann::json::exception& error) {
    std::fprintf(stderr, "emulator: %s is no description of a device: %s\n", path.c_str(), error.what());
    std::abort();
  }
}

DeviceDescription& current() {
  static DeviceDescription device = read(MINIDL_EMULATOR_DEVICES "/h200.json");
  return device;
}

}  // namespace

const DeviceDescription& device_description() {
  return current();
}

void use_device(const std::string& path) {
  current() = read(path);
}

}  // namespace minidl::emulator
