#pragma once
#include <minidl/kernels/conv2d.h>

#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <span>
#include <string>

namespace minidl {

/// Which engine computes a convolution fastest on a machine: measured the first time that it is asked for, and kept in
/// a JSON file, with the times of all, under the name of the machine (device and versions), the problem and the
/// precision. Several machines may share the file. Used by several threads at once.
class EngineTuner {
 public:
  /// Seconds of a call. An Error says that the engine cannot do it now.
  using Measure = std::function<double(const Conv2dEngine& engine, const Conv2dProblem& problem)>;

  /// Reads the file when there is one. Throws Error naming it when it is no such file or cannot be written.
  EngineTuner(std::filesystem::path file, std::string machine, Measure measure);

  /// The fastest of `candidates`, which is not empty. What was measured of other candidates does not count. Where
  /// nothing may be measured now, the first one of those that nothing is known of. An engine that fails is left out, as
  /// long as this process runs; when all do, throws Error with their reasons.
  const Conv2dEngine& choose(std::span<const Conv2dEngine* const> candidates, const Conv2dProblem& problem,
                             Precision precision, bool may_measure = true);

 private:
  using Seconds = std::map<std::string, double>;  // by engine; one that failed has the largest number
  Seconds measure_all(std::span<const Conv2dEngine* const> candidates, const Conv2dProblem& problem) const;
  void save() const;

  std::filesystem::path file_;
  std::string machine_;
  Measure measure_;
  std::map<std::string, Seconds> known_;  // by problem, of this machine
  std::mutex mutex_;
};

}  // namespace minidl
