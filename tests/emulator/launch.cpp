#include <emulator/access.h>
#include <emulator/block.h>
#include <emulator/counters.h>
#include <emulator/device_description.h>
#include <emulator/device_memory.h>
#include <emulator/launch_api.h>
#include <emulator/race.h>
#include <emulator/runtime.h>
#include <emulator/signals.h>

#include <memory>
#include <numeric>
#include <random>

namespace minidl::emulator {
namespace {

bool positive_and_at_most(Index3 size, const int (&limits)[3]) {
  const auto within = [](unsigned value, int limit) { return value >= 1 && value <= static_cast<unsigned>(limit); };
  return within(size.x, limits[0]) && within(size.y, limits[1]) && within(size.z, limits[2]);
}

/// Numbers of blocks, x fastest, in the order in which they run.
std::vector<int64_t> block_order(int64_t count) {
  std::vector<int64_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), int64_t{0});
  if (options().schedule == Schedule::reverse) std::reverse(order.begin(), order.end());
  if (options().schedule == Schedule::random) std::shuffle(order.begin(), order.end(), std::mt19937_64(options().seed));
  return order;
}

void run(const Launch& launch) {
  prepare_thread_for_signals();
  DeviceMemory& memory = DeviceMemory::instance();
  const DeviceMemory::Open open;
  const int64_t blocks = int64_t{launch.grid.x} * launch.grid.y * launch.grid.z;
  counters::begin_launch(launch.kernel, blocks, blocks * launch.block.x * launch.block.y * launch.block.z);
  race::begin_launch();
  forget_known();
  accesses_watched = options().count || options().schedule == Schedule::random;
  for (const int64_t number : block_order(blocks)) {
    const auto n = static_cast<uint64_t>(number);
    const Index3 index{static_cast<unsigned>(n % launch.grid.x),
                       static_cast<unsigned>(n / launch.grid.x % launch.grid.y),
                       static_cast<unsigned>(n / launch.grid.x / launch.grid.y)};
    if (!Block::run(launch, index)) break;
  }
  counters::end_launch();
  memory.check_guards("kernel " + launch.kernel);
}

}  // namespace

cudaError_t launch(const void* kernel, const std::string& name, int max_threads,
                   const cudaLaunchConfig_t& configuration, std::function<void()> body) {
  Runtime& runtime = Runtime::instance();
  return runtime.call([&] {
    const DeviceDescription& device = device_description();
    const Index3 block = configuration.blockDim;
    const size_t threads = size_t{block.x} * block.y * block.z;
    if (!positive_and_at_most(configuration.gridDim, device.max_grid) ||
        !positive_and_at_most(block, device.max_block) || threads > static_cast<size_t>(device.threads_per_block)) {
      return cudaErrorInvalidConfiguration;
    }
    // Of a block larger than its launch bounds, the compiled code of a kernel could not have the registers.
    if (threads > static_cast<size_t>(max_threads)) return cudaErrorInvalidValue;
    const auto asked = runtime.max_dynamic_shared.find(kernel);
    const bool opted_in = asked != runtime.max_dynamic_shared.end();
    const size_t dynamic_limit = opted_in ? static_cast<size_t>(asked->second) : device.shared_per_block;
    if (configuration.dynamicSmemBytes > dynamic_limit) return cudaErrorInvalidValue;

    auto launch = std::make_shared<Launch>();
    launch->kernel = name;
    launch->grid = configuration.gridDim;
    launch->block = block;
    launch->dynamic_shared = configuration.dynamicSmemBytes;
    launch->shared_limit = opted_in ? device.shared_per_block_optin : device.shared_per_block;
    launch->static_shared_limit = device.shared_per_block;
    launch->body = std::move(body);
    return runtime.enqueue(configuration.stream, {"kernel " + name, kernel, [launch] { run(*launch); }, {}});
  });
}

cudaError_t set_max_dynamic_shared(const void* kernel, int bytes) {
  Runtime& runtime = Runtime::instance();
  return runtime.call([&] {
    if (bytes < 0 || static_cast<size_t>(bytes) > device_description().shared_per_block_optin)
      return cudaErrorInvalidValue;
    runtime.max_dynamic_shared[kernel] = bytes;
    return cudaSuccess;
  });
}

}  // namespace minidl::emulator
