#include <fmt/format.h>
#include <minidl/apps/common/training_flags.h>

#include <filesystem>

namespace minidl::apps {

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
  if (std::filesystem::path(output).extension() != ".safetensors")
    throw UsageError(fmt::format("--output {}: the name must end with .safetensors", output));
  if (values.checkpoint_dir.empty())
    values.checkpoint_dir = std::filesystem::path(output).replace_extension(".checkpoints").string();
}

}  // namespace minidl::apps
