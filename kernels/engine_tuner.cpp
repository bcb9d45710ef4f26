#include <minidl/core/file.h>
#include <minidl/kernels/engine_tuner.h>

#include <algorithm>
#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

namespace minidl {
namespace {

using nlohmann::json;

constexpr const char* kFormat = "minidl-tuning";
constexpr int64_t kLargestFile = int64_t{64} << 20;
/// Of an engine that failed.
constexpr double kNever = std::numeric_limits<double>::max();

/// What is in the file of all machines; an empty one when there is no file.
json read_machines(const std::filesystem::path& file) {
  if (!std::filesystem::exists(file)) return json::object();
  const std::vector<uint8_t> bytes = read_file(file, kLargestFile);
  const json content = json::parse(bytes.begin(), bytes.end(), nullptr, false);
  const bool is_ours = content.is_object() && content.value("format", json()) == kFormat &&
                       content.contains("machines") && content["machines"].is_object();
  MINIDL_CHECK(is_ours, "[tuner] '{}' is no file of measured engines; delete it, or name another one", file.string());
  return content["machines"];
}

}  // namespace

EngineTuner::EngineTuner(std::filesystem::path file, std::string machine, Measure measure)
    : file_(std::move(file)), machine_(std::move(machine)), measure_(std::move(measure)) {
  check_can_write(file_);
  const json machines = read_machines(file_);
  try {
    if (machines.contains(machine_)) machines[machine_].get_to(known_);
  } catch (const json::exception& error) {
    fail(
        "[tuner] '{}': the times of '{}' are no numbers by problem and engine ({}); delete the file, or name another "
        "one",
        file_.string(), machine_, error.what());
  }
}

const Conv2dEngine& EngineTuner::choose(std::span<const Conv2dEngine* const> candidates, const Conv2dProblem& problem,
                                        Precision precision, bool may_measure) {
  if (candidates.size() == 1) return *candidates.front();
  const std::scoped_lock lock(mutex_);
  Seconds& seconds = known_[problem.str() + " at " + to_string(precision)];
  const auto is_measured = [&](const Conv2dEngine* engine) { return seconds.contains(engine->name); };
  if (seconds.size() != candidates.size() || !std::all_of(candidates.begin(), candidates.end(), is_measured)) {
    if (!may_measure) return *candidates.front();
    seconds = measure_all(candidates, problem);
    save();
  }
  return **std::min_element(candidates.begin(), candidates.end(),
                            [&](const auto* a, const auto* b) { return seconds.at(a->name) < seconds.at(b->name); });
}

EngineTuner::Seconds EngineTuner::measure_all(std::span<const Conv2dEngine* const> candidates,
                                              const Conv2dProblem& problem) const {
  Seconds seconds;
  std::string reasons;
  for (const Conv2dEngine* engine : candidates) {
    try {
      seconds[engine->name] = measure_(*engine, problem);
    } catch (const Error& error) {
      seconds[engine->name] = kNever;
      reasons += std::string(" ") + engine->name + ": " + error.what() + ";";
      if (execution::verbose()) std::fprintf(stderr, "[tuner] %s was not timed: %s\n", engine->name, error.what());
    }
  }
  const bool any = std::any_of(seconds.begin(), seconds.end(), [](const auto& entry) { return entry.second < kNever; });
  MINIDL_CHECK(any, "[tuner] no engine can compute {}:{}", problem, reasons);
  return seconds;
}

/// What other processes have written about other machines stays. Where an engine failed, which may have been for want
/// of memory, nothing is written, so that another process tries again.
void EngineTuner::save() const {
  json machines = read_machines(file_);
  json& known = machines[machine_] = json::object();
  for (const auto& [problem, seconds] : known_) {
    const auto failed = [](const auto& entry) { return entry.second == kNever; };
    if (std::none_of(seconds.begin(), seconds.end(), failed)) known[problem] = seconds;
  }
  const std::string text = json{{"format", kFormat}, {"machines", machines}}.dump(1);
  write_file_atomically(file_, text.data(), text.size());
}

}  // namespace minidl
