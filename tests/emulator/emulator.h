#pragma once
#include <cstdint>
#include <string>
#include <vector>

/// What tests say to the emulator of CUDA and ask it; kernels and the code that launches them know nothing of it.
namespace minidl::emulator {

/// The order in which the threads of a block run between two rendezvous, and the blocks of a grid. `random` also
/// changes threads at accesses to memory.
enum class Schedule { forward, reverse, random };

/// When an asynchronous copy to shared memory is done: at the wait for it, when it is issued, or either by a coin.
enum class Completion { late, early, random };

struct Options {
  Schedule schedule = Schedule::forward;
  Completion copies = Completion::late;
  /// Work of streams waits until something synchronises with it; otherwise it is done when it is enqueued.
  bool deferred_streams = true;
  /// Keep a LaunchCounters of every launch.
  bool count = false;
  uint64_t seed = 1;  // of everything random
};
/// At first what the environment says (MINIDL_EMULATOR_SCHEDULE, MINIDL_EMULATOR_COPIES; docs/emulator.md).
Options& options();

/// What a kernel, or the program around it, did wrong.
enum class Fault {
  out_of_bounds,
  use_after_free,
  misaligned,
  divergent_barrier,
  divergent_collective,
  race,
  stack_overflow,
  overrun,       // the bytes behind an allocation were written
  device_limit,  // more shared memory than the kernel may have
  bad_free,
};
const char* name(Fault fault);

struct Finding {
  Fault fault;
  std::string message;
};

/// Everything found since the last call; afterwards the context is as new (no sticky error). What nobody took by the
/// end of the program is printed and makes its exit status 1.
std::vector<Finding> take_findings();

/// Descriptions of allocations, streams, events and graphs that were not freed. What there is at the end of the program
/// is printed and makes its exit status 1.
std::vector<std::string> live_objects();

/// The n-th call of the runtime from now (1 is the next) does nothing and returns `error`; 0 calls the injection off.
void fail_call(int64_t n, int error);
/// Calls of the runtime so far; queries of the last error do not count.
int64_t calls();
/// Times that the host has waited for work of the device so far, copies to its memory among them.
int64_t waits();

/// The device's description: the fixture h200 at first. Path of a JSON file.
void use_device(const std::string& path);

/// What one launch asked for, summed over its threads. Accesses are counted in load() and store() of
/// core/cuda/launch.cuh; the lanes of a warp that execute the same access for the same time belong to one request.
struct LaunchCounters {
  std::string kernel;
  int64_t blocks = 0, threads = 0;
  int64_t barriers = 0, warp_collectives = 0;
  int64_t flops = 0;                          // multiply_add() counts 2
  int64_t tensor_flops = 0;                   // mma.sync
  int64_t bytes_read = 0, bytes_written = 0;  // global memory, by load() and store() and asynchronous copies
  int64_t global_requests = 0;                // of warps
  int64_t sectors = 0, ideal_sectors = 0;     // of 32 bytes; ideal: the request's distinct bytes / 32
  int64_t shared_requests = 0;
  int64_t bank_conflicts = 0;  // cycles above what the request's width takes
};
/// Of the launches since the last call, in their order. Empty unless Options::count was set.
std::vector<LaunchCounters> take_counters();

/// Switches between threads of blocks so far.
int64_t switches();

}  // namespace minidl::emulator
