#include <emulator/access.h>
#include <emulator/block.h>
#include <emulator/counters.h>
#include <emulator/device_memory.h>

#include <cstdint>
#include <cstring>

namespace minidl::emulator {

void check_access(const void* address, size_t bytes, size_t alignment, Access access) {
  const auto what = [&] {
    return (access == Access::read ? "read of " : "write of ") + std::to_string(bytes) + " bytes at ";
  };
  SharedMemory& shared = current_block->shared();
  if ((reinterpret_cast<uintptr_t>(address) & (alignment - 1)) != 0) {  // a power of two
    current_block->report(Fault::misaligned, what() + "an address that is no multiple of " + std::to_string(alignment));
    current_block->leave();
  }
  if (shared.contains(address)) {
    if (shared.valid(address, bytes)) return;
    current_block->report(Fault::out_of_bounds, what() + shared.describe(address));
    current_block->leave();
  }
  DeviceMemory& memory = DeviceMemory::instance();
  if (memory.valid(address, bytes)) return;
  current_block->report(memory.fault_at(address), what() + memory.describe(address));
  current_block->leave();
}

void on_access(const void* address, size_t bytes, size_t alignment, Access access) {
  check_access(address, bytes, alignment, access);
  counters::access(address, bytes, access, __builtin_return_address(0));
  current_block->maybe_yield();
}

void copy_unseen(void* target, const void* source, size_t bytes) {
  std::memcpy(target, source, bytes);
}

}  // namespace minidl::emulator
