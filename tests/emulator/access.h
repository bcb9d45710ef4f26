#pragma once
#include <cstddef>
#include <cstdint>

namespace minidl::emulator {

enum class Access { read, write };

/// Bytes that kernels may access: a live allocation or a variable in shared memory. The last one of each kind that an
/// access was found in is asked first.
struct KnownRange {
  uintptr_t begin = 0;
  size_t bytes = 0;

  bool contains(const void* address, size_t count) const {
    return count <= bytes && reinterpret_cast<uintptr_t>(address) - begin <= bytes - count;
  }
};
extern constinit thread_local KnownRange known_shared, known_global;
/// Of those in shared memory or of both, before they change.
void forget_known_shared();
void forget_known();

/// What check_access() does where it does not know.
void find_access(const void* address, size_t bytes, size_t alignment, Access access);

/// An access of the running thread to global or shared memory: stops the kernel unless all bytes lie in one live
/// allocation or variable, aligned as asked (a power of two).
inline void check_access(const void* address, size_t bytes, size_t alignment, Access access) {
  const bool known = known_shared.contains(address, bytes) || known_global.contains(address, bytes);
  const bool aligned = (reinterpret_cast<uintptr_t>(address) & (alignment - 1)) == 0;
  if (!known || !aligned) [[unlikely]]
    find_access(address, bytes, alignment, access);
}

/// Whether accesses of this launch are counted or may change threads.
extern constinit bool accesses_watched;
void watched_access(const void* address, size_t bytes, Access access);

/// What load() and store() of a kernel report: checked, counted, and a chance for another thread.
inline __attribute__((always_inline)) void on_access(const void* address, size_t bytes, size_t alignment,
                                                     Access access) {
  check_access(address, bytes, alignment, access);
  if (accesses_watched) [[unlikely]]
    watched_access(address, bytes, access);
}

/// memcpy by code that is never instrumented.
void copy_unseen(void* target, const void* source, size_t bytes);

}  // namespace minidl::emulator
