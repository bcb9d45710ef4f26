#include <minidl/apps/common/standard_flags.h>
#include <minidl/core/allocator.h>
#include <minidl/core/parallel.h>
#include <minidl/kernels/execution.h>

#include <algorithm>
#include <cstdlib>
#include <limits>

namespace minidl::apps {
namespace {

/// On a CUDA device a form of a weight that is not kept costs a launch or two each time: room for those of VGG-19, up
/// to relu5_1 50 MiB in f32 for each direction.
constexpr int64_t kDeviceFilterCache = int64_t{128} << 20;

}  // namespace

void add_output_flags(Flags& flags, OutputFlags& values) {
  flags.group("Messages and report")
      .text("--json", values.json, "FILE", "write a report for scripts")
      .toggle("--quiet", values.quiet, "print nothing but errors")
      .toggle("--verbose", values.verbose, "print more about what is done");
}

void add_compute_flags(Flags& flags, ComputeFlags& values, const std::string& usual_precision) {
  flags.group("Computing")
      .choice<std::string, std::string>("--device", values.device, {{"auto", "auto"}, {"cpu", "cpu"}, {"cuda", "cuda"}},
                                        "where to compute; auto is the CPU, until kernels have been tried on a GPU")
      .choice<std::optional<std::string>, std::string>(
          "--precision", values.precision, {{"fp32", "fp32"}, {"tf32", "tf32"}, {"bf16", "bf16"}, {"fp16", "fp16"}},
          "arithmetic of the convolutions; on a CPU tf32 and bf16 are the faster choices, fp16 is for CUDA devices "
          "(default: " +
              usual_precision + ")")
      .value("--threads", "N", "processor threads; the result does not depend on it", "one per processor",
             [&](const std::string& text) { values.threads = static_cast<int>(parse_integer(text, 1, 1024)); })
      .value("--max-memory", "SIZE", "stay below this much memory, e.g. 800M or 2G", "no limit",
             [&](const std::string& text) { values.max_memory = parse_bytes(text); })
      .integer("--seed", values.seed, 0, std::numeric_limits<int64_t>::max(), "of all random numbers")
      .toggle("--dry-run", values.dry_run, "print the plan (sizes, layers, memory, time) and stop");
}

void add_weights_flag(Flags& flags, std::string& weights, const std::string& otherwise) {
  flags.text("--weights", weights, "FILE",
             "VGG network, MatConvNet .mat or .safetensors; or the environment variable MINIDL_WEIGHTS" +
                 (otherwise.empty() ? std::string() : "; " + otherwise));
}

void take_weights_from_environment(std::string& weights) {
  const char* variable = std::getenv("MINIDL_WEIGHTS");
  if (weights.empty() && variable) weights = variable;
}

void require_weights(std::string& weights) {
  take_weights_from_environment(weights);
  if (weights.empty()) throw UsageError("--weights is missing: name a VGG network file, or set MINIDL_WEIGHTS");
}

Device apply_compute_flags(const ComputeFlags& values) {
  const Device device = Device::parse(values.device);
  if (values.precision) {
    const Precision precision = parse_precision(*values.precision);
    MINIDL_CHECK(precision != Precision::fp16 || device.kind == Device::Kind::cuda,
                 "[precision] precision 'fp16' is for CUDA devices, and this run computes on the CPU; use bf16, or "
                 "--device cuda");
    execution::set_precision(precision);
  }
  if (values.threads > 0) set_num_threads(values.threads);
  if (values.max_memory > 0) {
    allocator(device).set_limit(values.max_memory);
  } else if (device.kind == Device::Kind::cuda) {
    execution::set_filter_cache(std::max(execution::filter_cache(), kDeviceFilterCache));
  }
  return device;
}

}  // namespace minidl::apps
