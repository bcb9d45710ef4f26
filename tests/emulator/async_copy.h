#pragma once
#include <emulator/block.h>

/// cp.async of this thread: copies from global to shared memory that run beside the thread, in groups that it can wait
/// for.
namespace minidl::emulator::async_copy {

/// `bytes` is 4, 8 or 16; the last `zeros` bytes are filled with zeros instead.
void issue(void* shared, const void* global, size_t bytes, size_t zeros);
void commit();
/// Waits for all but the last `groups` groups that were committed.
void wait_prior(int64_t groups);
/// Everything, at the end of a thread.
void finish(Thread& thread);

}  // namespace minidl::emulator::async_copy
