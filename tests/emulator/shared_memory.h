#pragma once
#include <emulator/access.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace minidl::emulator {

/// The shared memory of the block at work on this OS thread. Every variable is fresh in each block, full of 0xff bytes
/// (NaN), and between guards that belong to nobody.
class SharedMemory {
 public:
  SharedMemory();
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  /// Forgets all variables; makes the dynamic one.
  void begin_block(size_t dynamic_bytes);
  /// The variable that `key` (an address that stands for its declaration) names, made at its first use in a block.
  void* variable(const void* key, const char* name, size_t bytes);
  void* dynamic() const { return base_; }
  size_t dynamic_bytes() const { return dynamic_bytes_; }
  /// All variables, without guards.
  size_t used() const { return used_; }

  /// Whether the address lies in the memory that a block could have.
  bool contains(const void* address) const {
    const auto* const byte = static_cast<const std::byte*>(address);
    return byte >= base_ && byte < base_ + kCapacity;
  }
  /// The bytes of the variable around an address; of none, where there is no variable.
  KnownRange range(const void* address) const;
  /// "shared array 'tile' (4096 bytes) + 12", or where outside of all the address lies.
  std::string describe(const void* address) const;

 private:
  static constexpr size_t kCapacity = size_t{1} << 20;  // more than any device has, with room for guards

  struct Variable {
    const void* key;
    const char* name;
    std::byte* begin;
    size_t bytes;
  };
  const Variable* find(const void* address) const;
  std::byte* make(const void* key, const char* name, size_t bytes);

  std::byte* base_ = nullptr;
  size_t end_ = 0;  // of what this block has taken, guards included
  size_t used_ = 0, dynamic_bytes_ = 0;
  std::vector<Variable> variables_;
};

}  // namespace minidl::emulator
