#pragma once
#include <cstddef>

namespace minidl::emulator {

enum class Access { read, write };

/// An access of the running thread to global or shared memory: stops the kernel unless all bytes lie in one live
/// allocation or variable, aligned as asked.
void check_access(const void* address, size_t bytes, size_t alignment, Access access);

/// What load() and store() of a kernel report: checked, counted, and a chance for another thread.
void on_access(const void* address, size_t bytes, size_t alignment, Access access);

/// memcpy by code that is never instrumented.
void copy_unseen(void* target, const void* source, size_t bytes);

}  // namespace minidl::emulator
