#include <emulator/fiber.h>
#include <emulator/sanitizer.h>

#include <cstdint>

#if defined(__x86_64__)
// minidl_emulator_switch(void** save_stack_pointer, void* load_stack_pointer): callee-saved registers go to the old
// stack and come from the new one; everything else is the caller's to keep.
extern "C" void minidl_emulator_switch(void** save, void* load);
asm(R"(
.text
.p2align 4
.type minidl_emulator_switch, @function
minidl_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size minidl_emulator_switch, . - minidl_emulator_switch
)");
#endif

namespace minidl::emulator {
namespace {

[[maybe_unused]] constexpr int kSavedRegisters = 6;

constinit thread_local Context* leaving = nullptr;   // who switched last
constinit thread_local Context* arriving = nullptr;  // to whom

}  // namespace

/// Runs on the new stack after every switch: the sanitizer learns which stack is in use, and we where the old one lies.
void arrive() {
#ifdef MINIDL_EMULATOR_ASAN
  const void* stack = nullptr;
  size_t bytes = 0;
  __sanitizer_finish_switch_fiber(arriving->fake_stack_, &stack, &bytes);
  if (leaving->stack_ == nullptr) {
    leaving->stack_ = stack;
    leaving->stack_bytes_ = bytes;
  }
#endif
}

namespace {

/// Where every fiber begins.
void start() {
  arrive();
  arriving->enter();
  __builtin_trap();  // a fiber ends by switching away for good
}

}  // namespace

void Context::prepare(std::byte* stack, size_t bytes, void (*entry)()) {
  unpoison(stack, bytes);
  stack_ = stack;
  stack_bytes_ = bytes;
  fake_stack_ = nullptr;
  entry_ = entry;
#if defined(__x86_64__)
  auto* top = reinterpret_cast<void**>((reinterpret_cast<uintptr_t>(stack) + bytes) & ~uintptr_t{15});
  *--top = nullptr;  // where a return address would be: the stack is aligned as behind a call
  *--top = reinterpret_cast<void*>(&start);
  for (int i = 0; i < kSavedRegisters; ++i) *--top = nullptr;
  stack_pointer_ = top;
#else
  getcontext(&state_);
  state_.uc_stack.ss_sp = stack;
  state_.uc_stack.ss_size = bytes;
  state_.uc_link = nullptr;
  makecontext(&state_, &start, 0);
#endif
}

void Context::switch_to(Context& next, [[maybe_unused]] bool for_good) {
  leaving = this;
  arriving = &next;
#ifdef MINIDL_EMULATOR_ASAN
  __sanitizer_start_switch_fiber(for_good ? nullptr : &fake_stack_, next.stack_, next.stack_bytes_);
#endif
#if defined(__x86_64__)
  minidl_emulator_switch(&stack_pointer_, next.stack_pointer_);
#else
  swapcontext(&state_, &next.state_);
#endif
  arrive();
}

}  // namespace minidl::emulator
