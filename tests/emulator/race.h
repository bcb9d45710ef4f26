#pragma once
#include <cstddef>

/// Two accesses to the same bytes of which one is a write, with nothing between them that orders them. What orders:
/// __syncthreads() within a block, __syncwarp() of all lanes within a warp, the end of a launch. Blocks of one launch
/// are ordered where one fences and then changes an atomic, and a thread of the other changes it later and fences then.
/// Every access is seen when the kernels are compiled with -fsanitize=thread, whose calls land in
/// race_hooks.cpp; otherwise nothing here does anything.
namespace minidl::emulator::race {

/// Called by the start-up code of instrumented files.
void enable();

void begin_launch();
void begin_block();
void barrier();
void sync_warp(int warp);

/// Memory whose accesses are followed, and no longer.
void new_shared(const void* begin, size_t bytes);
void new_global(const void* begin, size_t bytes);
void forget(const void* begin);

/// By the running thread. `instruction` is where, for the report. Ignored for memory of neither kind and in host code.
void read(const void* address, size_t bytes, const void* instruction = nullptr);
void write(const void* address, size_t bytes, const void* instruction = nullptr);
/// Of 4 or 8 bytes; atomics do not race with each other.
void atomic(const void* address, size_t bytes);
/// __threadfence() of the running thread.
void fence();

}  // namespace minidl::emulator::race
