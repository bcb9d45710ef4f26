#include <dlfcn.h>
#include <minidl/core/error.h>
#include <minidl/kernels/cudnn/conv2d_engines.h>
#include <minidl/kernels/cudnn/library.h>

#include <string>
#include <type_traits>

namespace minidl::cudnn {
namespace {

constexpr const char* kFile = "libcudnn.so.9";
/// The first version that makes plans from the properties of a device, without a handle.
constexpr size_t kOldest = 90800;

struct Loaded {
  Library library;
  std::string reason;  // why it cannot be used; empty: it can
};

Loaded load() {
  Loaded loaded;
  void* file = dlopen(kFile, RTLD_NOW | RTLD_LOCAL);
  if (!file) {
    const char* error = dlerror();
    loaded.reason = std::string("cuDNN cannot be loaded: ") + (error ? error : kFile);
    return loaded;
  }
  const auto find = [&](const char* name, auto& function) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(file, name));
    if (!function && loaded.reason.empty()) loaded.reason = std::string(kFile) + " has no function " + name;
  };
#define MINIDL_CUDNN_FIND(function) find(#function, loaded.library.function);
  MINIDL_CUDNN_FUNCTIONS(MINIDL_CUDNN_FIND)
#undef MINIDL_CUDNN_FIND
  if (!loaded.reason.empty()) return loaded;
  const size_t version = loaded.library.cudnnGetVersion();
  if (version < kOldest) loaded.reason = "cuDNN " + std::to_string(version) + " is older than 9.8";
  return loaded;
}

/// Never closed: plans may outlive every other object.
const Loaded& loaded() {
  static const Loaded& once = *new Loaded(load());
  return once;
}

}  // namespace

const Library& library() {
  MINIDL_CHECK(loaded().reason.empty(), "[cudnn] {}", loaded().reason);
  return loaded().library;
}

std::string version_name() {
  return loaded().reason.empty() ? "cuDNN " + std::to_string(loaded().library.cudnnGetVersion()) : "";
}

void check(cudnnStatus_t status, const char* what) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  char details[1024] = "";
  library().cudnnGetLastErrorString(details, sizeof details);
  fail("[cudnn] {}: {}{}{}", what, library().cudnnGetErrorString(status), *details ? "; " : "", details);
}

}  // namespace minidl::cudnn
