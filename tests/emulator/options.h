#pragma once
#include <emulator/emulator.h>

namespace minidl::emulator {

/// What the environment's MINIDL_EMULATOR_SCHEDULE and MINIDL_EMULATOR_COPIES say; nullptr where they do not. A word
/// that they cannot have ends the program.
Options options_from(const char* schedule, const char* copies);

}  // namespace minidl::emulator
