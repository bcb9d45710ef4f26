#pragma once
#include <minidl/apps/common/photo_batches.h>
#include <minidl/apps/common/progress.h>
#include <minidl/apps/common/report.h>

#include <functional>
#include <map>
#include <string>

namespace minidl::apps {

/// What training programs write besides their results: a log of JSON objects, one a line, and messages. Once a run has
/// begun, a file that cannot be written costs a warning and not the run.
class RunOutput {
 public:
  /// `log`: file; empty for none. A new run begins a new log, one that goes on adds to it. Throws Error when the file
  /// cannot be written.
  RunOutput(std::string log, bool is_new_run, ProgressLine& line);

  bool has_log() const { return !log_.empty(); }
  /// Nothing without a log; throws Error when it cannot be written.
  void log(const Json& entry);
  /// Tells of the photos that `batches` could not read since the last call, and of its cache's problem.
  void report_skipped(const PhotoBatches& batches);
  /// What goes wrong becomes a warning.
  void try_to(const std::function<void()>& action);
  /// Also when messages are switched off.
  void warn(const std::string& text);

 private:
  struct Told {
    size_t skips = 0;
    bool cache_problem = false;
  };

  std::string log_;
  ProgressLine& line_;
  std::map<const PhotoBatches*, Told> told_;
};

}  // namespace minidl::apps
