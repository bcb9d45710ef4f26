#pragma once
// What the address sanitizer is told about stacks and memory that it did not make. Nothing, where it is not switched
// on.
#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define MINIDL_EMULATOR_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MINIDL_EMULATOR_ASAN 1
#endif
#endif

#ifdef MINIDL_EMULATOR_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace minidl::emulator {

#ifdef MINIDL_EMULATOR_ASAN
inline constexpr bool kAddressSanitizer = true;
inline void poison(const void* begin, size_t bytes) {
  __asan_poison_memory_region(begin, bytes);
}
inline void unpoison(const void* begin, size_t bytes) {
  __asan_unpoison_memory_region(begin, bytes);
}
#else
inline constexpr bool kAddressSanitizer = false;
inline void poison(const void*, size_t) {}
inline void unpoison(const void*, size_t) {}
#endif

}  // namespace minidl::emulator
