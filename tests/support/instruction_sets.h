#pragma once
#include <minidl/kernels/execution.h>

#include <functional>
#include <string>

namespace minidl::test {

/// Calls `check` with kernels held to each set of vector instructions that this machine has; its name is for messages.
inline void for_each_instruction_set(const std::function<void(const char* name)>& check) {
  const std::string before = execution::simd();
  for (const std::string& name : execution::simd_choices()) {
    execution::set_simd(name);
    check(name.c_str());
  }
  execution::set_simd(before);
}

}  // namespace minidl::test
