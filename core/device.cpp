#include <minidl/core/device.h>
#include <minidl/core/error.h>

namespace minidl {

Device Device::best() { return cpu(); }

Device Device::parse(std::string_view name) {
  if (name == "cpu") return cpu();
  if (name == "auto") return best();
  const bool is_cuda = name == "cuda" || name.starts_with("cuda:");
  MINIDL_CHECK(!is_cuda, "[device] '{}' is not available: this build of libminidl has no CUDA backend; use 'cpu' or 'auto'", name);
  fail("[device] '{}' is not a device; use 'cpu', 'cuda', 'cuda:1' or 'auto'", name);
}

std::string Device::str() const { return kind == Kind::cpu ? "cpu" : "cuda:" + std::to_string(index); }

}  // namespace minidl
