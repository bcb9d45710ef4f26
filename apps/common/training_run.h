#pragma once
#include <minidl/apps/common/checkpoint_folder.h>
#include <minidl/apps/common/program.h>
#include <minidl/apps/common/progress.h>
#include <minidl/apps/common/signals.h>
#include <minidl/apps/common/standard_flags.h>
#include <minidl/apps/common/training_flags.h>
#include <minidl/core/profile.h>

#include <cstdint>
#include <functional>
#include <string>

namespace minidl::apps {

/// The folder of a run's states.
CheckpointFolder checkpoint_folder(const TrainingFlags& values);
/// The state to go on from; empty: from the beginning. Throws Error, naming `program`, when the folder has states of
/// another run.
std::string state_to_resume(const TrainingFlags& values, const char* program, ProgressLine& line);

/// Loads that state into `training`, which has run `steps` then at the most.
template <typename Training>
void go_on(Training& training, const TrainingFlags& values, int64_t steps, const char* program, ProgressLine& line) {
  const std::string state = state_to_resume(values, program, line);
  if (state.empty()) return;
  training.load_state(state);
  line.message(fmt::format("going on after step {} of {}", training.step(), steps));
}

/// Seconds of a step, of which it makes two: the first one also fills caches.
template <typename Progress, typename Training>
double measure_step(Training& training) {
  constexpr int64_t kSteps = 2;
  double seconds = 0, before = 0;
  training.run([&](const Progress& progress) {
    seconds = progress.seconds - before;
    before = progress.seconds;
    return progress.step < kSteps;
  });
  return seconds;
}

/// Runs `training` to its end, or to a signal that asks to stop: its progress in `line` and given to
/// `output.after_step`, its result to `output.finish`; the profile at --verbose. The exit code.
template <typename Progress, typename Training, typename Output>
int run_training(Training& training, Output& output, const OutputFlags& reports, ProgressLine& line,
                 const std::function<ProgressSample(const Progress&)>& sample_of) {
  Profile::enable(reports.verbose);
  const StopSignals signals;
  const auto result = training.run([&](const Progress& progress) {
    line.update(sample_of(progress));
    if (!progress.note.empty()) line.message(fmt::format("step {}: {}", progress.step, progress.note));
    output.after_step(progress);
    return !signals.requested();
  });
  line.finish();
  output.finish(result);
  if (reports.verbose) fmt::print(stderr, "{}", Profile::table());
  return result.cancelled ? signals.exit_code() : kSuccess;
}

}  // namespace minidl::apps
