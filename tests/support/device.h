#pragma once
#include <minidl/core/cuda/backend.h>
#include <minidl/kernels/batch_norm.h>
#include <minidl/kernels/conv2d_pool2d.h>

#include <cstdlib>
#include <list>
#include <utility>
#include <vector>

/// ON_DEVICE(op)(arguments...) calls an operation where the test runs: on the CPU, or on the device that
/// MINIDL_TEST_DEVICE names, to which its tensors and masks are copied before, and back where it may have written. So
/// one test, whose tensors lie on the host, is a test of every device. Arguments in braces need their type.
#define ON_DEVICE(op)                                                                                         \
  ::minidl::test::OnDevice {                                                                                  \
    [](auto&&... arguments) -> decltype(auto) { return op(std::forward<decltype(arguments)>(arguments)...); } \
  }

namespace minidl::test {

inline Device device() {
  static const Device chosen = [] {
    const char* name = std::getenv("MINIDL_TEST_DEVICE");
    return name ? Device::parse(name) : Device::cpu();
  }();
  return chosen;
}
inline bool on_cpu() {
  return device() == Device::cpu();
}

/// There tests take small shapes, for the host computes what thousands of threads would, one by one.
inline bool on_emulated_device() {
  static const bool emulated = !on_cpu() && cuda::machine_name(device().index).starts_with("Emulated");
  return emulated;
}
/// Why a test that computes large tensors several times is not one of an emulated device.
inline constexpr const char* kEmulatedOnce = "slow on an emulated device, whose schedules have tests of their own";

/// Until all work on a device is done.
inline void wait_for(Device where) {
  if (where.kind == Device::Kind::cuda) cuda::synchronize(where.index);
}

/// Where MINIDL_TEST_MISALIGNED is set, about half of the copies begin one element behind the beginning of an
/// allocation, so that vectors of four are not aligned.
inline Tensor copy_on_device(const Tensor& host) {
  static const bool misaligned = std::getenv("MINIDL_TEST_MISALIGNED") != nullptr;
  static uint32_t draws = 1;
  draws = draws * 1664525 + 1013904223;  // a linear congruential generator
  if (!misaligned || host.count() == 0 || draws >> 31 == 0) return host.to(device());
  Tensor copy =
      Tensor::empty({host.count() + 1}, host.dtype(), device()).slice(1, host.count() + 1).reshape(host.shape());
  copy.copy_from(host);
  return copy;
}

/// Arguments that hold tensors.
template <typename T>
concept HoldsTensors = std::is_same_v<T, Tensor> || std::is_same_v<T, BitMask> || std::is_same_v<T, Accumulate> ||
    std::is_same_v<T, NormGrads> || std::is_same_v<T, BatchNormRunning> || std::is_same_v<T, PoolRoute> ||
    std::is_same_v<T, std::vector<Tensor>> || std::is_pointer_v<T>;

/// The arguments of one call as they are on the device.
class DeviceArguments {
 public:
  Tensor& map(Tensor& host) { return copy_of(host, &host); }
  const Tensor& map(const Tensor& host) { return copy_of(host, nullptr); }
  BitMask& map(BitMask& host) { return masks_.emplace_back(&host, host.to(device())).copy; }
  const BitMask& map(const BitMask& host) { return masks_.emplace_back(nullptr, host.to(device())).copy; }
  template <typename T>
  T* map(T* host) {
    return host ? &map(*host) : nullptr;
  }
  Accumulate map(const Accumulate& how) { return {how.beta, map(how.relu_mask)}; }
  NormGrads map(const NormGrads& grads) {
    return {map(grads.grad_input), map(grads.how),       map(grads.grad_weight),
            grads.weight_beta,     map(grads.grad_bias), grads.bias_beta};
  }
  BatchNormRunning map(const BatchNormRunning& running) {
    return {map(running.mean), map(running.variance), running.momentum};
  }
  PoolRoute& map(PoolRoute& host) {
    return routes_.emplace_back(host.kind, map(host.choice), map(host.positive), host.shape);
  }
  PoolRoute map(const PoolRoute& host) { return {host.kind, map(host.choice), map(host.positive), host.shape}; }
  std::vector<Tensor> map(const std::vector<Tensor>& hosts) {
    std::vector<Tensor> copies;
    for (const Tensor& host : hosts) copies.push_back(map(host));
    return copies;
  }
  /// Everything that holds no tensor.
  template <typename T>
  requires(!HoldsTensors<std::remove_const_t<T>>) T& map(T& value) { return value; }

  /// What the call may have written.
  void copy_back() {
    for (const Entry<Tensor>& entry : tensors_) {
      if (entry.written && entry.copy) entry.written->copy_from(entry.copy);
    }
    for (const Entry<BitMask>& entry : masks_) {
      if (entry.written) *entry.written = entry.copy.to(Device::cpu());
    }
  }

 private:
  template <typename T>
  struct Entry {
    Entry(T* to_write, T on_device) : written(to_write), copy(std::move(on_device)) {}
    T* written;  // the host's; nullptr when it was const
    T copy;
  };

  /// One that was an argument before is the same one on the device, so that an output may be an input there, too.
  Tensor& copy_of(const Tensor& host, Tensor* written) {
    for (const auto& [earlier, copy] : originals_) {
      if (host && earlier.shares_storage_with(host) && earlier.raw() == host.raw() && earlier.bytes() == host.bytes()) {
        return tensors_.emplace_back(written, copy).copy;
      }
    }
    const Tensor copy = copy_on_device(host);
    originals_.emplace_back(host, copy);
    return tensors_.emplace_back(written, copy).copy;
  }

  std::vector<std::pair<const Tensor, const Tensor>> originals_;
  std::list<Entry<Tensor>> tensors_;
  std::list<Entry<BitMask>> masks_;
  std::list<PoolRoute> routes_;
};

template <typename Op>
class OnDevice {
 public:
  explicit OnDevice(Op op) : op_(std::move(op)) {}

  template <typename... Arguments>
  auto operator()(Arguments&&... arguments) const {
    using Result = decltype(op_(std::forward<Arguments>(arguments)...));
    if (on_cpu()) return op_(std::forward<Arguments>(arguments)...);
    DeviceArguments mapped;
    if constexpr (std::is_void_v<Result>) {
      op_(mapped.map(arguments)...);
      mapped.copy_back();
    } else {
      Result result = op_(mapped.map(arguments)...);
      mapped.copy_back();
      if constexpr (std::is_same_v<Result, Tensor>) result = result.to(Device::cpu());
      return result;
    }
  }

 private:
  Op op_;
};

}  // namespace minidl::test
