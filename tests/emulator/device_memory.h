#pragma once
#include <emulator/emulator.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace minidl::emulator {

/// The memory of the device: a range of addresses of its own, in which only kernels and the runtime's copies may touch
/// what is allocated. Pages are closed while host code runs, so a stray access ends the program with a message;
/// addresses are never used twice, so a pointer to freed memory stays one. Between allocations lies at least a page
/// that is always closed; fresh memory is full of 0xff bytes (NaN).
class DeviceMemory {
 public:
  static DeviceMemory& instance();

  /// While one lives, the pages are open.
  class Open {
   public:
    Open();
    ~Open();
    Open(const Open&) = delete;
    Open& operator=(const Open&) = delete;
  };

  struct Allocation {
    std::byte* begin = nullptr;
    size_t bytes = 0;
    int64_t number = 0;  // 1 is the first of the program
    std::byte* pages = nullptr;
    size_t page_bytes = 0;
    bool live = true;

    bool contains(const void* address, size_t count) const {
      const auto* const byte = static_cast<const std::byte*>(address);
      return byte >= begin && count <= bytes && byte <= begin + (bytes - count);
    }
  };

  /// nullptr when the device has no more.
  void* allocate(size_t bytes);
  /// Whether the address was that of a live allocation.
  bool free(void* address);

  /// Whether the address lies in the range of the device, allocated or not.
  bool contains(const void* address) const {
    const auto* const byte = static_cast<const std::byte*>(address);
    return byte >= base_ && byte < base_ + kRange;
  }
  /// Whether all bytes lie in one live allocation.
  bool valid(const void* address, size_t bytes) const;
  /// The live allocation around an address, or nullptr.
  const Allocation* find(const void* address) const;
  Fault fault_at(const void* address) const;
  /// "allocation 3 (4096 bytes) + 12", with "freed" or how far outside.
  std::string describe(const void* address) const;

  /// Reports allocations behind which something was written since the last check.
  void check_guards(const std::string& after);

  size_t in_use() const { return in_use_; }
  /// By address.
  const std::vector<const Allocation*>& live() const { return live_; }

 private:
  static constexpr size_t kRange = size_t{1} << 38;

  DeviceMemory();
  const Allocation* nearest(const void* address) const;
  void protect(const Allocation& allocation, int protection) const;

  std::byte* base_ = nullptr;
  std::byte* next_ = nullptr;
  size_t in_use_ = 0;
  int64_t count_ = 0;
  int open_ = 0;
  std::map<const std::byte*, Allocation> allocations_;  // by the address of their first byte, freed ones too
  std::vector<const Allocation*> live_;                 // of them
  mutable const Allocation* last_found_ = nullptr;
};

}  // namespace minidl::emulator
