#pragma once
#include <cstddef>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace minidl::emulator {

/// A point of execution that others can switch to: a function on a stack of its own (a fiber), or what an OS thread was
/// doing when it switched to a fiber. Switching takes a few nanoseconds on x86-64 (a handful of registers) and a system
/// call elsewhere (ucontext).
class Context {
 public:
  /// Of the calling OS thread, as soon as it switches away.
  Context() = default;
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  /// The next switch to this context calls `entry` on the stack [stack, stack + bytes). `entry` must not return. What
  /// ran on the stack before is forgotten, without destructors.
  void prepare(std::byte* stack, size_t bytes, void (*entry)());

  /// Runs `next` until something switches back to this context; with `for_good` nothing ever will.
  void switch_to(Context& next, bool for_good = false);

  /// Calls what `prepare` was given.
  void enter() const { entry_(); }

 private:
  friend void arrive();

#if defined(__x86_64__)
  void* stack_pointer_ = nullptr;
#else
  ucontext_t state_ = {};
#endif
  // For the address sanitizer: where the stack lies, and its own record of a context that is switched away from.
  const void* stack_ = nullptr;
  size_t stack_bytes_ = 0;
  void* fake_stack_ = nullptr;
  void (*entry_)() = nullptr;
};

}  // namespace minidl::emulator
