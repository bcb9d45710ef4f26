#include <minidl/core/cuda/backend.h>
#include <minidl/core/device.h>
#include <minidl/core/error.h>

#include <charconv>

namespace minidl {
namespace {

/// The number behind "cuda:", 0 for "cuda" alone; -1 when the word is neither.
int cuda_index(std::string_view name) {
  constexpr std::string_view kPrefix = "cuda:";
  if (name == "cuda") return 0;
  int index = -1;
  if (!name.starts_with(kPrefix)) return index;
  const char* end = name.data() + name.size();
  const auto [stopped, error] = std::from_chars(name.data() + kPrefix.size(), end, index);
  return error == std::errc() && stopped == end ? index : -1;
}

}  // namespace

Device Device::best() {
  return cpu();
}

Device Device::parse(std::string_view name) {
  if (name == "cpu") return cpu();
  if (name == "auto") return best();
  const int index = cuda_index(name);
  MINIDL_CHECK(index >= 0, "[device] '{}' is not a device; use 'cpu', 'cuda', 'cuda:1' or 'auto'", name);
  const int count = cuda::device_count();
  MINIDL_CHECK(count > 0, "[device] '{}' is not available: {}", name, cuda::unavailable_reason());
  MINIDL_CHECK(index < count, "[device] '{}' is not available: the last device is cuda:{}", name, count - 1);
  return {Kind::cuda, index};
}

std::string Device::str() const {
  return kind == Kind::cpu ? "cpu" : "cuda:" + std::to_string(index);
}

}  // namespace minidl
