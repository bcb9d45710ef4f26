#pragma once
#include <minidl/core/cuda/backend.h>
#include <minidl/kernels/adam_update.h>
#include <minidl/kernels/arguments.h>
#include <minidl/kernels/gemm.h>
#include <minidl/kernels/upsample_conv2d.h>

#include <span>
#include <vector>

/// Choosing between the implementations of an operation on the CPU and on a CUDA device.
namespace minidl::cpu {
#include <minidl/kernels/operations.inc>
}  // namespace minidl::cpu

namespace minidl::cuda {
#include <minidl/kernels/operations.inc>
}  // namespace minidl::cuda

namespace minidl {
namespace detail {
inline Device device_of(const Tensor& x) {
  return x.device();
}
inline Device device_of(const BitMask& x) {
  return x.device();
}
template <typename T>
void check_device(const char* op, Device device, const T& other) {
  MINIDL_CHECK(!other || device_of(other) == device,
               "[{}] a tensor of shape {} is on {}, another one on {}; move one with to()", op, other.shape(),
               device_of(other), device);
}
}  // namespace detail

/// The device that the tensors and masks of a call are on; undefined ones are on any. Throws Error when they are on
/// several.
template <typename... Others>
Device common_device(const char* op, const Tensor& first, const Others&... others) {
  (detail::check_device(op, first.device(), others), ...);
  return first.device();
}

struct Conv2dDesc;
struct GramContribution;
struct PoolRoute;

/// Throws Error for a contribution (not nullptr) that does not fit grad_input or cannot be added as that is written.
void check_added(const char* op, const Conv2dDesc& desc, const Tensor& grad_input, const GramContribution* added);
/// Throws Error for a route (not nullptr) of a pool that does not give the input.
void check_input_route(const char* op, const Conv2dDesc& desc, const PoolRoute* input_route);

/// Calls `run` with a CUDA device current.
template <typename Run>
void run_on_device(Device device, const Run& run) {
  if (device.kind == Device::Kind::cpu) return run();
  const cuda::DeviceScope scope(device.index);
  run();
}

}  // namespace minidl

/// MINIDL_ON(device, relu_forward(...)) is cuda::relu_forward(...) with that device current, or cpu::relu_forward(...).
#ifdef MINIDL_HAS_CUDA
#define MINIDL_ON(device, call)                                                       \
  ((device).kind == ::minidl::Device::Kind::cuda                                      \
       ? (static_cast<void>(::minidl::cuda::DeviceScope((device).index)), cuda::call) \
       : cpu::call)
#else
#define MINIDL_ON(device, call) (static_cast<void>(device), cpu::call)
#endif
