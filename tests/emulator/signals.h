#pragma once

namespace minidl::emulator {

/// From here on a fault at an address of the device, or below the stack of a thread of a kernel, is told apart from
/// other crashes: in a kernel it stops the kernel, in host code it ends the program with a message.
void install_signal_handler();

/// Gives this OS thread a stack for the handler, so that the overflow of another one can be handled.
void prepare_thread_for_signals();

}  // namespace minidl::emulator
