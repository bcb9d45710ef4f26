#pragma once
#include <cstddef>

namespace minidl::emulator {

/// Stacks for the threads of one block, one after another with pages between that nobody may touch. Made once per OS
/// thread and never given back: work may be left to be done when a program ends, after whatever is destroyed.
class Stacks {
 public:
  static constexpr size_t kBytes = size_t{128} << 10;

  constexpr Stacks() = default;
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;

  /// Of thread `number`.
  std::byte* stack(int number);
  /// Whether the address lies in a page between stacks.
  bool is_guard(const void* address) const;

 private:
  std::byte* base_ = nullptr;
};

/// Of this OS thread.
Stacks& stacks();

}  // namespace minidl::emulator
