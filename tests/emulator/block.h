#pragma once
#include <emulator/emulator.h>
#include <emulator/fiber.h>
#include <emulator/shared_memory.h>

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace minidl::emulator {

/// A place in the source of a kernel; the default argument of everything where threads meet.
struct Location {
  const char* file = "";
  int line = 0;

  static constexpr Location current(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
  friend bool operator==(const Location&, const Location&) = default;
  std::string str() const { return std::string(file) + ":" + std::to_string(line); }
};

struct Index3 {
  unsigned x = 0, y = 0, z = 0;
};

inline constexpr int kWarpSize = 32;
inline constexpr int kMaxThreads = 1024;
inline constexpr uint32_t kAllLanes = 0xffffffffu;

/// A copy of 4, 8 or 16 bytes from global to shared memory that was issued and is not yet done.
struct AsyncCopy {
  void* shared;
  const void* global;
  size_t bytes, zeros;  // the last `zeros` of `bytes` are not read, but filled with 0
  int64_t group;
};

struct Thread {
  enum class State : uint8_t { ready, at_barrier, in_collective, done };

  Context context;
  State state = State::ready;
  Index3 index;
  int number = 0;    // in the block, x fastest
  Location waiting;  // where, unless ready
  std::vector<AsyncCopy> copies;
  int64_t committed_groups = 0;

  int warp() const { return number / kWarpSize; }
  int lane() const { return number % kWarpSize; }
};

/// A meeting of lanes of one warp: each leaves its input, the last to come computes all outputs.
struct Collective {
  static constexpr size_t kMaxBytes = 48;
  using Slots = std::array<std::array<unsigned char, kMaxBytes>, kWarpSize>;

  uint32_t live = 0;  // lanes that have not returned
  uint32_t arrived = 0;
  uint32_t mask = 0;  // who takes part, if live
  Location location;
  void (*compute)(Collective&, uint32_t lanes) = nullptr;
  alignas(16) Slots inputs, outputs;
};

/// What all blocks of a launch have in common.
struct Launch {
  std::string kernel;
  Index3 grid, block;
  size_t dynamic_shared = 0;
  size_t shared_limit = 0, static_shared_limit = 0;  // of all, and of variables that are not dynamic
  std::function<void()> body;
};

/// A block at work on this OS thread: its threads are fibers that switch where they meet.
class Block {
 public:
  /// Runs a block to its end, or to the first fault that a GPU could not go on from; returns whether it came to its
  /// end.
  static bool run(const Launch& launch, Index3 index);

  /// __syncthreads().
  void barrier(Location location);
  /// Leaves `input`, meets the other lanes of `mask` and takes what `compute` made of all inputs.
  void collective(uint32_t mask, const void* input, size_t input_bytes, void* output, size_t output_bytes,
                  Location location, void (*compute)(Collective&, uint32_t lanes));
  /// __syncwarp(mask): as a collective, and orders memory accesses of these lanes.
  void sync_warp(uint32_t mask, Location location);
  /// Lets another thread run, if the schedule likes.
  void maybe_yield();

  /// Keeps a finding about the running thread, after which the block must not go on.
  void report(Fault fault, const std::string& message);
  /// Back to the launcher, for good: the stacks of all threads are given up without destructors, so nobody on them may
  /// own memory.
  [[noreturn]] void leave();

  uint64_t random();
  const Launch& launch() const { return *launch_; }
  const Index3& index() const { return index_; }
  const std::vector<Thread>& threads() const { return threads_; }
  SharedMemory& shared() { return shared_; }

 private:
  void begin(const Launch& launch, Index3 index);
  static void run_thread();
  void finish_thread();
  Thread* next_ready();
  void switch_to(Thread& next);
  void wait(Thread::State state, Location location);
  void release_barrier();
  void finish_collective(int warp);

  const Launch* launch_ = nullptr;
  Index3 index_;
  std::vector<Thread> threads_;
  std::vector<Collective> warps_;
  SharedMemory shared_;
  Context launcher_;
  int live_ = 0, waiting_at_barrier_ = 0;
  Location barrier_location_;
  uint64_t random_state_ = 1;
  bool stopped_ = false;
};

/// The block and the thread that run on this OS thread; null in host code.
extern constinit thread_local Block* current_block;
extern constinit thread_local Thread* current_thread;

/// "block (1,0,0), thread (3,0,0)" of what runs.
std::string position();

}  // namespace minidl::emulator
