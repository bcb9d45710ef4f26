#pragma once
#include <cpuid.h>

namespace minidl::cpu {

inline bool bit(unsigned word, int index) {
  return (word >> index & 1) != 0;
}

/// Whether the system keeps these registers, bits of XCR0, when it changes threads.
inline bool system_saves(unsigned registers) {
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !bit(c, 27)) return false;  // OSXSAVE
  unsigned low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & registers) == registers;
}

}  // namespace minidl::cpu
