#pragma once
#include <minidl/apps/common/report.h>
#include <minidl/apps/gatys.h>

#include <set>
#include <string>

namespace minidl::apps {

/// Names of the engines that the network's convolutions use, forward and back, for a picture of this size under the
/// current execution settings.
std::set<std::string> engines_of(const layers::Vgg& network, const Extent& size, Device device);

/// What nst_gatys --json writes: losses, history, time, memory (peak_memory_bytes: of the process; peak_tensor_bytes:
/// what the plan predicts). Layer values are unweighted, as GatysLosses has them.
Json json_report(const GatysResult& result, const layers::Vgg& network, const GatysSettings& settings, Device device);

/// What nst_gatys --dry-run prints: sizes, engines, memory at the peak, and a time estimated from a short measurement
/// on this machine.
std::string plan_text(const Gatys& gatys, const layers::Vgg& network, const GatysSettings& settings,
                      const GatysPictures& pictures);

}  // namespace minidl::apps
