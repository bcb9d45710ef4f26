// What code that was compiled with -fsanitize=thread calls at its accesses to memory. The compiler's own library, which
// defines the same functions for threads of the operating system, is not linked.
#include <emulator/race.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace race = minidl::emulator::race;

#define ACCESS(bytes)                                         \
  void __tsan_read##bytes(void* address) {                    \
    race::read(address, bytes, __builtin_return_address(0));  \
  }                                                           \
  void __tsan_write##bytes(void* address) {                   \
    race::write(address, bytes, __builtin_return_address(0)); \
  }                                                           \
  void __tsan_unaligned_read##bytes(void* address) {          \
    race::read(address, bytes, __builtin_return_address(0));  \
  }                                                           \
  void __tsan_unaligned_write##bytes(void* address) {         \
    race::write(address, bytes, __builtin_return_address(0)); \
  }

// Atomics of C++ are host code: they do what they say and are not followed. Those of kernels are functions of the
// emulator.
#define ATOMIC(bits)                                                                                       \
  uint##bits##_t __tsan_atomic##bits##_load(const volatile uint##bits##_t* a, int) {                       \
    return __atomic_load_n(a, 5);                                                                          \
  }                                                                                                        \
  void __tsan_atomic##bits##_store(volatile uint##bits##_t* a, uint##bits##_t v, int) {                    \
    __atomic_store_n(a, v, 5);                                                                             \
  }                                                                                                        \
  uint##bits##_t __tsan_atomic##bits##_exchange(volatile uint##bits##_t* a, uint##bits##_t v, int) {       \
    return __atomic_exchange_n(a, v, 5);                                                                   \
  }                                                                                                        \
  uint##bits##_t __tsan_atomic##bits##_fetch_add(volatile uint##bits##_t* a, uint##bits##_t v, int) {      \
    return __atomic_fetch_add(a, v, 5);                                                                    \
  }                                                                                                        \
  uint##bits##_t __tsan_atomic##bits##_fetch_sub(volatile uint##bits##_t* a, uint##bits##_t v, int) {      \
    return __atomic_fetch_sub(a, v, 5);                                                                    \
  }                                                                                                        \
  bool __tsan_atomic##bits##_compare_exchange_strong(volatile uint##bits##_t* a, uint##bits##_t* expected, \
                                                     uint##bits##_t v, int, int) {                         \
    return __atomic_compare_exchange_n(a, expected, v, false, 5, 5);                                       \
  }                                                                                                        \
  bool __tsan_atomic##bits##_compare_exchange_weak(volatile uint##bits##_t* a, uint##bits##_t* expected,   \
                                                   uint##bits##_t v, int, int) {                           \
    return __atomic_compare_exchange_n(a, expected, v, false, 5, 5);                                       \
  }

extern "C" {
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)
void __tsan_read_range(void* address, size_t bytes) {
  race::read(address, bytes, __builtin_return_address(0));
}
void __tsan_write_range(void* address, size_t bytes) {
  race::write(address, bytes, __builtin_return_address(0));
}

ATOMIC(8)
ATOMIC(32)
ATOMIC(64)

void __tsan_init() {
  race::enable();
}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_read(void**) {}
void __tsan_vptr_update(void**, void*) {}
}
