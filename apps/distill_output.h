#pragma once
#include <minidl/apps/common/checkpoint_folder.h>
#include <minidl/apps/common/photo_batches.h>
#include <minidl/apps/common/run_output.h>
#include <minidl/apps/nst_distill_flags.h>

#include <functional>
#include <string>

namespace minidl::apps {

/// All that a distillation writes: checkpoints, the student so far, pictures, curve, log. Everything is checked in the
/// constructor, before the first second of work.
class DistillOutput {
 public:
  /// `photos` and `paintings` in the order in which they are reported.
  DistillOutput(const DistillOptions& options, Distill& training, const CheckpointFolder& checkpoints,
                const PhotoBatches& photos, const PhotoBatches& paintings, ProgressLine& line);

  void after_step(const DistillProgress& progress);
  /// The result or, when the run was stopped, the state to go on from.
  void finish(const DistillResult& result);

 private:
  void log(const DistillProgress& progress);
  void save_student(const std::filesystem::path& path) const;
  void save_checkpoint(int64_t step);
  /// Of the validation: content, style, the teacher's picture when there is one, the student's; and of the pool.
  void save_pictures(int64_t step);
  void save_plot();
  std::filesystem::path in_folder(const std::string& name) const;

  const DistillOptions& options_;
  Distill& training_;
  const CheckpointFolder& checkpoints_;
  const PhotoBatches& photos_;
  const PhotoBatches& paintings_;
  ProgressLine& line_;
  RunOutput output_;
};

}  // namespace minidl::apps
