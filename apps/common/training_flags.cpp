#include <fmt/format.h>
#include <minidl/apps/common/training_flags.h>
#include <minidl/core/error.h>

#include <filesystem>
#include <optional>
#include <vector>

namespace minidl::apps {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCheckpointName = "step";

}  // namespace

void add_training_flags(Flags& flags, TrainingFlags& values) {
  flags.text("--checkpoint-dir", values.checkpoint_dir, "DIR",
             "folder of the states to go on from (default: OUTPUT.checkpoints)");
  flags.integer("--checkpoint-every", values.checkpoint_every, 1, 1000000000, "steps between them");
  flags.integer("--keep", values.keep, 1, 1000000, "how many of them are kept");
  flags.optional_text(
      "--resume", values.resume, values.resume_from, "FILE|DIR",
      "go on from a state, the newest of a folder, or the newest in --checkpoint-dir; the other flags as "
      "in the first run");
  flags.text("--plot", values.plot, "FILE", "training curve: .svg, drawn anew with each checkpoint");
}

void finish_training_flags(TrainingFlags& values, const std::string& output) {
  if (fs::path(output).extension() != ".safetensors")
    throw UsageError(fmt::format("--output {}: the name must end with .safetensors", output));
  if (values.checkpoint_dir.empty())
    values.checkpoint_dir = fs::path(output).replace_extension(".checkpoints").string();
}

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
