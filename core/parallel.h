#pragma once
#include <cstdint>
#include <functional>

namespace minidl {

/// Threads used by parallel_for, the caller included; at least 1. The default is the number of processors this process may run on, or
/// MINIDL_THREADS when it is set.
int num_threads();
/// Throws Error unless 1 <= threads <= 1024.
void set_num_threads(int threads);

/// Calls body(chunk_begin, chunk_end) for consecutive chunks of `grain` indices that cover [begin, end). Chunks depend
/// on `grain` alone, never on the number of threads, so a body that writes only results of its own chunk gives the same
/// bytes for every thread count. Chunks are handed out dynamically, in ascending order; a nested call runs on the
/// calling thread. The first exception that a body throws is rethrown here.
void parallel_for(int64_t begin, int64_t end, int64_t grain, const std::function<void(int64_t, int64_t)>& body);

/// Index in [0, num_threads()) of the thread that runs the current parallel_for body; 0 outside. For per-thread scratch memory only: results
/// must not depend on it.
int thread_index();

/// While an object lives, parallel_for calls of its thread run on that thread alone: same chunks, same bytes. For
/// threads in the background, which would otherwise take the pool away from the thread that computes, or wait for it.
class SerialScope {
 public:
  SerialScope();
  ~SerialScope();
  SerialScope(const SerialScope&) = delete;
  SerialScope& operator=(const SerialScope&) = delete;

 private:
  bool before_;
};

}  // namespace minidl
