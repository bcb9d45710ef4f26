// Prints what the emulator needs to know of the first CUDA device, as one of the files in tests/emulator/devices.
#include <minidl/core/cuda/check.h>

#include <cstdio>
#include <nlohmann/json.hpp>

int main() {
  try {
    cudaDeviceProp p{};
    MINIDL_CUDA_CHECK(cudaGetDeviceProperties(&p, 0));
    const nlohmann::ordered_json properties{{"name", p.name},
                                            {"major", p.major},
                                            {"minor", p.minor},
                                            {"multiProcessorCount", p.multiProcessorCount},
                                            {"totalGlobalMem", p.totalGlobalMem},
                                            {"sharedMemPerBlock", p.sharedMemPerBlock},
                                            {"sharedMemPerBlockOptin", p.sharedMemPerBlockOptin},
                                            {"sharedMemPerMultiprocessor", p.sharedMemPerMultiprocessor},
                                            {"regsPerBlock", p.regsPerBlock},
                                            {"regsPerMultiprocessor", p.regsPerMultiprocessor},
                                            {"maxThreadsPerBlock", p.maxThreadsPerBlock},
                                            {"maxThreadsPerMultiProcessor", p.maxThreadsPerMultiProcessor},
                                            {"maxBlocksPerMultiProcessor", p.maxBlocksPerMultiProcessor},
                                            {"maxThreadsDim", p.maxThreadsDim},
                                            {"maxGridSize", p.maxGridSize},
                                            {"l2CacheSize", p.l2CacheSize}};
    std::printf("%s\n", properties.dump(2).c_str());
    return 0;
  } catch (const minidl::Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}
