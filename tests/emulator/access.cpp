#include <emulator/access.h>
#include <emulator/block.h>
#include <emulator/counters.h>
#include <emulator/device_memory.h>

#include <cstdint>
#include <cstring>

namespace minidl::emulator {

constinit thread_local KnownRange known_shared, known_global;
constinit bool accesses_watched = false;

void forget_known_shared() {
  known_shared = {};
}
void forget_known() {
  known_shared = known_global = {};
}

void find_access(const void* address, size_t bytes, size_t alignment, Access access) {
  const auto what = [&] {
    return (access == Access::read ? "read of " : "write of ") + std::to_string(bytes) + " bytes at ";
  };
  SharedMemory& shared = current_block->shared();
  if ((reinterpret_cast<uintptr_t>(address) & (alignment - 1)) != 0) {
    current_block->report(Fault::misaligned, what() + "an address that is no multiple of " + std::to_string(alignment));
    current_block->leave();
  }
  if (shared.contains(address)) {
    known_shared = shared.range(address);
    if (known_shared.contains(address, bytes)) return;
    current_block->report(Fault::out_of_bounds, what() + shared.describe(address));
    current_block->leave();
  }
  DeviceMemory& memory = DeviceMemory::instance();
  if (const DeviceMemory::Allocation* const allocation = memory.find(address)) {
    known_global = {reinterpret_cast<uintptr_t>(allocation->begin), allocation->bytes};
    if (known_global.contains(address, bytes)) return;
  }
  current_block->report(memory.fault_at(address), what() + memory.describe(address));
  current_block->leave();
}

void watched_access(const void* address, size_t bytes, Access access) {
  counters::access(address, bytes, access, __builtin_return_address(0));
  current_block->maybe_yield();
}

void copy_unseen(void* target, const void* source, size_t bytes) {
  std::memcpy(target, source, bytes);
}

}  // namespace minidl::emulator
