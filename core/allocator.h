#pragma once
#include <minidl/core/device.h>

#include <cstddef>
#include <cstdint>

namespace minidl {

/// Bytes. `in_use` counts the rounded sizes of live blocks, `held` what was taken from the system (in use + kept for reuse).
struct MemoryStats {
  int64_t in_use = 0;
  int64_t held = 0;
  int64_t peak_in_use = 0;
  int64_t allocations = 0;
};

/// Gives memory to tensors and workspaces. Thread-safe.
class Allocator {
 public:
  virtual ~Allocator() = default;
  /// At least `bytes` bytes, 64-byte aligned, contents undefined; 0 bytes give nullptr. Throws Error with requested, held and peak
  /// figures when the system or the limit has no more, and for more than 1 TiB.
  virtual void* allocate(size_t bytes) = 0;
  virtual void deallocate(void* pointer) noexcept = 0;
  virtual MemoryStats stats() const = 0;
  /// Sets peak_in_use to what is in use now.
  virtual void reset_peak() = 0;
  /// Gives cached blocks back to the system.
  virtual void release_cached() = 0;
  /// Upper bound of `in_use` in bytes; 0 removes it.
  virtual void set_limit(int64_t bytes) = 0;
};

/// The allocator of a device; lives until the program ends.
Allocator& allocator(Device device);

}  // namespace minidl
