#pragma once
#include <minidl/apps/common/flags.h>
#include <minidl/core/device.h>

#include <cstdint>
#include <filesystem>
#include <optional>

namespace minidl::apps {

/// Flags of every program: --json FILE, --quiet, --verbose.
struct OutputFlags {
  std::string json;  // empty: no report
  bool quiet = false;
  bool verbose = false;
};
void add_output_flags(Flags& flags, OutputFlags& values);

/// Flags of the programs that compute: --device, --precision, --threads, --max-memory, --seed, --dry-run.
struct ComputeFlags {
  std::string device = "auto";
  std::optional<std::string> precision = {};  // empty: the device's default
  int threads = 0;                            // 0: one per processor
  int64_t max_memory = 0;                     // bytes; 0: no limit
  uint64_t seed = 0;
  bool dry_run = false;
};
void add_compute_flags(Flags& flags, ComputeFlags& values, const std::string& usual_precision = "fp32");

/// --weights FILE, of a VGG network; `otherwise` says what happens without it.
void add_weights_flag(Flags& flags, std::string& weights, const std::string& otherwise = {});
/// The environment variable MINIDL_WEIGHTS where --weights was not given; may be empty, too.
void take_weights_from_environment(std::string& weights);
/// The same; throws UsageError where there are none.
void require_weights(std::string& weights);

/// Applies threads, precision and memory limit to this process and returns the device. Throws Error, with the reason,
/// for a device or a precision that this build or machine does not have.
Device apply_compute_flags(const ComputeFlags& values);

}  // namespace minidl::apps
