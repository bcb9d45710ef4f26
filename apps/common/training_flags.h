#pragma once
#include <minidl/apps/common/flags.h>

#include <cstdint>
#include <string>

namespace minidl::apps {

/// Flags of the programs that train: states to go on from, and the curve.
struct TrainingFlags {
  std::string checkpoint_dir;  // beside the output when none is given
  int64_t checkpoint_every = 500;
  int64_t keep = 3;
  bool resume = false;
  std::string resume_from;  // a state file, a folder of them, or empty: the checkpoint folder
  std::string plot;         // training curve, .svg; empty: none
};
void add_training_flags(Flags& flags, TrainingFlags& values);

/// --output must be a .safetensors file; the checkpoint folder is OUTPUT.checkpoints when none was given.
void finish_training_flags(TrainingFlags& values, const std::string& output);

}  // namespace minidl::apps
