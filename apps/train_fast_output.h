#pragma once
#include <minidl/apps/common/checkpoint_folder.h>
#include <minidl/apps/common/photo_batches.h>
#include <minidl/apps/common/run_output.h>
#include <minidl/apps/nst_train_fast_flags.h>

#include <string>
#include <vector>

namespace minidl::apps {

/// Photos of --validation, their shorter side scaled to that of the training photos; those that cannot be read are left
/// out. Throws Error when none can.
std::vector<Tensor> load_validation(const TrainFastOptions& options);

/// All that a training run writes: checkpoints, previews, curve, log, result. Everything is checked in the constructor,
/// before the first second of work; later a file that cannot be written, other than the result, costs a message and
/// not the run.
class TrainFastOutput {
 public:
  TrainFastOutput(const TrainFastOptions& options, FastStyle& training, const CheckpointFolder& checkpoints,
                  PhotoBatches& batches, ProgressLine& line);

  void after_step(const FastStyleProgress& progress);
  /// The result or, when the run was stopped, the state to go on from; and what was skipped.
  void finish(const FastStyleResult& result);

 private:
  void save_checkpoint(int64_t step);
  void save_previews(int64_t step);
  void save_plot();
  void log(const FastStyleProgress& progress);

  const TrainFastOptions& options_;
  FastStyle& training_;
  const CheckpointFolder& checkpoints_;
  PhotoBatches& batches_;
  ProgressLine& line_;
  std::vector<Tensor> previews_;  // photos [1, h, w, 3]
  RunOutput output_;
};

}  // namespace minidl::apps
