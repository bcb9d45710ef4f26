#include <emulator/block.h>
#include <emulator/stacks.h>
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>

namespace minidl::emulator {
namespace {

constexpr size_t kGuard = size_t{64} << 10;  // a larger array on the stack may reach beyond it
constexpr size_t kStride = Stacks::kBytes + kGuard;
constexpr size_t kTotal = kMaxThreads * kStride;

}  // namespace

std::byte* Stacks::stack(int number) {
  if (base_ == nullptr) {
    void* const mapped =
        ::mmap(nullptr, kTotal, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) {
      std::perror("emulator: no address space for stacks");
      std::abort();
    }
    base_ = static_cast<std::byte*>(mapped);
    for (int i = 0; i < kMaxThreads; ++i) ::mprotect(base_ + i * kStride, kGuard, PROT_NONE);
  }
  return base_ + number * kStride + kGuard;
}

bool Stacks::is_guard(const void* address) const {
  const auto* const byte = static_cast<const std::byte*>(address);
  if (base_ == nullptr || byte < base_ || byte >= base_ + kTotal) return false;
  return static_cast<size_t>(byte - base_) % kStride < kGuard;
}

Stacks& stacks() {
  static constinit thread_local Stacks instance;
  return instance;
}

}  // namespace minidl::emulator
