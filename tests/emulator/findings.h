#pragma once
#include <emulator/emulator.h>

namespace minidl::emulator {

/// Keeps a finding and prints it.
void add_finding(Fault fault, std::string message);
/// Whether there is one that nobody took.
bool has_findings();

}  // namespace minidl::emulator
