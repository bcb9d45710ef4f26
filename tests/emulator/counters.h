#pragma once
#include <emulator/access.h>
#include <emulator/emulator.h>

/// LaunchCounters while a kernel runs. Accesses wait until all lanes of a warp have met, because only then is it known
/// which of them belong to one request: those by the same instruction, executed for the same time since the lanes last
/// met.
namespace minidl::emulator::counters {

void begin_launch(const std::string& kernel, int64_t blocks, int64_t threads);
void end_launch();
void end_block();
void barrier();
/// A collective of a warp; `whole` when no lane was missing.
void collective(int warp, bool whole);

/// Whether this launch is counted.
extern constinit bool counting;

/// Of the running thread; an access by core/cuda/launch.cuh, asynchronous copies among them.
void access(const void* address, size_t bytes, Access access, const void* instruction);
void add_flops(int64_t count);
inline void flops(int64_t count) {
  if (counting) [[unlikely]]
    add_flops(count);
}
void tensor_flops(int64_t count);
/// Cycles that an ldmatrix waits for banks beyond one per 8 rows.
void bank_conflicts(int64_t cycles);

}  // namespace minidl::emulator::counters
