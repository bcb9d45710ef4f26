#pragma once
#include <minidl/layers/vgg.h>

#include <string>
#include <vector>

namespace minidl::apps {

/// A network for losses, and what to call it in messages and reports.
struct LossNetwork {
  layers::Vgg network;
  std::string name;
};

/// That of a weights file.
LossNetwork load_network(const std::string& weights, const std::vector<std::string>& taps);
/// The small one: of a student file (nst_distill) or, when `student` is empty, the built-in one. Throws UsageError when
/// this build has none.
LossNetwork load_small_network(const std::string& student, const std::vector<std::string>& taps);

}  // namespace minidl::apps
