#pragma once
// Launching kernels. A kernel of the emulator is a function whose last parameter carries what __launch_bounds__ and the
// compiler know of it.
#include <emulator/device_api.h>
#include <emulator/host_api.h>

#include <algorithm>
#include <functional>
#include <string>
#include <tuple>
#include <utility>

struct cudaLaunchAttribute;

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
  cudaLaunchAttribute* attrs = nullptr;
  unsigned numAttrs = 0;
};

namespace minidl::emulator {

/// The name of a kernel as a template argument.
template <size_t kSize>
struct Name {
  char text[kSize] = {};
  constexpr Name(const char (&name)[kSize]) { std::copy_n(name, kSize, text); }
};

/// The type of a kernel's last parameter.
template <int kMaxThreadsPerBlock, Name kName>
struct KernelTraits {
  static constexpr int kMaxThreads = kMaxThreadsPerBlock;
  static std::string name() { return kName.text; }
};

cudaError_t launch(const void* kernel, const std::string& name, int max_threads,
                   const cudaLaunchConfig_t& configuration, std::function<void()> body);
cudaError_t set_max_dynamic_shared(const void* kernel, int bytes);

template <typename... Parameters>
using Last = std::tuple_element_t<sizeof...(Parameters) - 1, std::tuple<Parameters...>>;

}  // namespace minidl::emulator

/// Arguments are converted to the kernel's parameters and kept, as they are at the launch, until it runs.
template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* configuration, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments) + 1, "as many arguments as the kernel has parameters");
  using Traits = minidl::emulator::Last<Parameters...>;
  const std::tuple<Parameters...> values(static_cast<Arguments&&>(arguments)..., Traits{});
  return minidl::emulator::launch(reinterpret_cast<const void*>(kernel), Traits::name(), Traits::kMaxThreads,
                                  *configuration, [kernel, values] { std::apply(kernel, values); });
}

template <typename Kernel>
cudaError_t cudaFuncSetAttribute(Kernel* kernel, cudaFuncAttribute, int value) {
  return minidl::emulator::set_max_dynamic_shared(reinterpret_cast<const void*>(kernel), value);
}
