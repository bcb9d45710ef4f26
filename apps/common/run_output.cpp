#include <fmt/format.h>
#include <minidl/apps/common/run_output.h>
#include <minidl/core/error.h>
#include <minidl/core/file.h>

#include <fstream>
#include <utility>

namespace minidl::apps {
namespace {

constexpr size_t kSkipsTold = 5;  // by name; the log has them all

}  // namespace

RunOutput::RunOutput(std::string log, bool is_new_run, ProgressLine& line) : log_(std::move(log)), line_(line) {
  if (log_.empty()) return;
  check_can_write(log_);
  if (is_new_run) write_file_atomically(log_, nullptr, 0);
}

void RunOutput::log(const Json& entry) {
  if (log_.empty()) return;
  const std::string text = entry.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  std::ofstream file(log_, std::ios::app | std::ios::binary);
  file << text << std::flush;
  MINIDL_CHECK(file.good(), "[log] cannot write to --json {}", log_);
}

void RunOutput::warn(const std::string& text) {
  line_.finish();
  fmt::print(stderr, "warning: {}\n", text);
}

void RunOutput::try_to(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    warn(error.what());
  }
}

void RunOutput::report_skipped(const PhotoBatches& batches) {
  Told& told = told_[&batches];
  const std::string problem = batches.cache_problem();
  if (!problem.empty() && !told.cache_problem) {
    told.cache_problem = true;
    warn("going on without the cache: " + problem);
  }
  const std::vector<SkippedPhoto> skipped = batches.skipped();
  for (; told.skips < skipped.size(); ++told.skips) {
    const SkippedPhoto& photo = skipped[told.skips];
    if (told.skips < kSkipsTold) line_.message("left out: " + photo.reason);
    if (told.skips == kSkipsTold) line_.message("more photos are left out; the end tells their number");
    try_to([&] { log({{"event", "skipped"}, {"file", photo.file.string()}, {"reason", photo.reason}}); });
  }
}

}  // namespace minidl::apps
