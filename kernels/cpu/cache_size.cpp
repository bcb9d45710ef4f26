#include <minidl/kernels/cpu/cache_size.h>

#include <unistd.h>

namespace minidl::cpu {

int64_t l2_floats() {
  static const int64_t floats = [] {
    const int64_t bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
    return (bytes > 0 ? bytes : int64_t{512} << 10) / static_cast<int64_t>(sizeof(float));
  }();
  return floats;
}

}  // namespace minidl::cpu
