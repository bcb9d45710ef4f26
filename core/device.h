#pragma once
#include <string>
#include <string_view>

namespace minidl {

/// Where a tensor lives and an operation runs: the CPU, or one CUDA device.
struct Device {
  enum class Kind { cpu, cuda };

  Kind kind = Kind::cpu;
  int index = 0;

  static Device cpu() { return {}; }
  /// The CPU: no kernel of the CUDA backend has run on a GPU so far, so a GPU is used only when it is named.
  static Device best();
  /// "cpu", "cuda", "cuda:1" or "auto" (the same as best()). Throws Error for other words and for a device that is not usable here,
  /// with the reason.
  static Device parse(std::string_view name);

  std::string str() const;
  friend bool operator==(const Device&, const Device&) = default;
};

}  // namespace minidl
