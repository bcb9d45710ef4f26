#pragma once
#include <hwy/highway.h>

#include <functional>

namespace minidl::test {

/// Calls `check` with the code for each instruction set that this machine has and the library was compiled for; its
/// name is for messages.
inline void for_each_instruction_set(const std::function<void(const char* name)>& check) {
  const auto use = [](int64_t targets) {
    hwy::SetSupportedTargetsForTest(targets);  // 0: those of the machine
    hwy::GetChosenTarget().DeInit();
  };
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    use(target);
    check(hwy::TargetName(target));
  }
  use(0);
}

}  // namespace minidl::test
