#include <fmt/format.h>
#include <minidl/apps/common/training_run.h>
#include <minidl/core/error.h>

#include <filesystem>
#include <optional>
#include <vector>

namespace minidl::apps {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCheckpointName = "step";

}  // namespace

CheckpointFolder checkpoint_folder(const TrainingFlags& values) {
  return {values.checkpoint_dir, kCheckpointName, static_cast<int>(values.keep)};
}

std::string state_to_resume(const TrainingFlags& values, const char* program, ProgressLine& line) {
  if (!values.resume) {
    MINIDL_CHECK(checkpoint_folder(values).checkpoints().empty(),
                 "[{}] {} has checkpoints of another run: go on from them with --resume, or name another "
                 "--checkpoint-dir",
                 program, values.checkpoint_dir);
    return {};
  }
  if (!values.resume_from.empty() && !fs::is_directory(values.resume_from)) return values.resume_from;
  const std::string& name = values.resume_from.empty() ? values.checkpoint_dir : values.resume_from;
  std::vector<std::string> unreadable;
  const std::optional<Checkpoint> newest = CheckpointFolder(name, kCheckpointName, 0).newest(&unreadable);
  for (const std::string& why : unreadable) line.message("left out: " + why);
  if (newest) return newest->path.string();
  line.message(fmt::format("{} has no checkpoint yet: beginning", name));
  return {};
}

}  // namespace minidl::apps
