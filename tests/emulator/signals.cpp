#include <emulator/block.h>
#include <emulator/device_memory.h>
#include <emulator/signals.h>
#include <emulator/stacks.h>
#include <signal.h>

#include <array>
#include <cstdio>
#include <cstdlib>

namespace minidl::emulator {
namespace {

struct sigaction previous;

void handle(int signal, siginfo_t* information, void* context) {
  const void* const address = information->si_addr;
  DeviceMemory& memory = DeviceMemory::instance();
  if (current_thread != nullptr) {
    // Kernels call nothing that is unsafe to leave: as after any fault, the block is given up with the stacks of its
    // threads.
    if (stacks().is_guard(address)) {
      current_block->report(Fault::stack_overflow,
                            "more than " + std::to_string(Stacks::kBytes) + " bytes of local memory");
      current_block->leave();
    }
    if (memory.contains(address)) {
      current_block->report(memory.fault_at(address), "access to " + memory.describe(address));
      current_block->leave();
    }
  } else if (memory.contains(address)) {
    std::fprintf(stderr, "emulator: host code touched device memory: %s\n", memory.describe(address).c_str());
    std::abort();
  }
  if (previous.sa_flags & SA_SIGINFO) {
    previous.sa_sigaction(signal, information, context);
  } else {
    ::sigaction(signal, &previous, nullptr);  // returning faults again
  }
}

}  // namespace

void install_signal_handler() {
  struct sigaction action = {};
  action.sa_sigaction = &handle;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigemptyset(&action.sa_mask);
  ::sigaction(SIGSEGV, &action, &previous);
}

void prepare_thread_for_signals() {
  static thread_local std::array<char, 64 << 10> stack;
  stack_t current = {};
  ::sigaltstack(nullptr, &current);
  if ((current.ss_flags & SS_DISABLE) == 0) return;
  stack_t own = {};
  own.ss_sp = stack.data();
  own.ss_size = stack.size();
  ::sigaltstack(&own, nullptr);
}

}  // namespace minidl::emulator
