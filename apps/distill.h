#pragma once
#include <minidl/apps/distill_judge.h>
#include <minidl/apps/distill_objective.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace minidl {

/// What a distillation needs besides its settings.
struct DistillData {
  /// Pictures of step 0, 1, ...: [batch, size, size, 3], RGB in [0, 255]. The same step must give the same pictures,
  /// however often and in whatever run it is asked for.
  std::function<Tensor(int64_t step)> photos, paintings;
  std::string fingerprint;              // what they are, as "name value" pairs
  std::vector<DistillPair> validation;  // held-out pictures; may be empty
};

/// When a run judges its student.
struct DistillWatch {
  int64_t validate_every = 0;  // steps; 0: never
  int iterations = 50;         // of the pictures that are made for it
};

/// Mean errors over some steps, or at one when there are few: the training curve.
struct DistillPoint {
  int64_t step = 0;            // the last one, counted from 1
  double given = 0, pool = 0;  // total errors of given pictures and of those of the pool; 0: there were none
  double seconds = 0;          // since the run began, pauses between resumed parts left out
};
struct DistillValidation {
  int64_t step = 0;
  DistillScore score;
};

/// Where a run is; given to the callback after every step.
struct DistillProgress {
  int64_t step = 0, steps = 0;  // done, planned
  DistillErrors given, pool;    // of this step's given pictures, and of those of the pool; empty when there were none
  double total = 0;             // over all of the step's pictures
  float lr = 0;
  double grad_norm = 0;  // before clipping
  double seconds = 0;
  std::optional<DistillScore> validation = {};  // when it was computed after this step
  std::string note = {};                        // something out of the ordinary, in words
};

struct DistillResult {
  int64_t steps = 0;
  double seconds = 0;
  bool cancelled = false;
};

/// Trains a small network to stand for a large one in style transfer (layers/student.h): first its features and Gram
/// matrices on given pictures, then also on pictures that are being optimised with it (Hinton, Vinyals, Dean 2015;
/// Romero et al. 2015 for features; on-policy as in Ross, Gordon, Bagnell 2011). No flags, no files.
class Distill {
 public:
  /// Returns false to stop after this step.
  using Callback = std::function<bool(const DistillProgress&)>;

  /// Keeps a reference to `teacher`, which is frozen. Throws Error for settings out of their range, for a teacher that
  /// is not on the CPU, and for validation pictures that do not fit.
  Distill(layers::Vgg& teacher, DistillSettings settings, DistillData data, DistillWatch watch = {});
  ~Distill();
  Distill(const Distill&) = delete;
  Distill& operator=(const Distill&) = delete;

  /// Runs, or goes on, until the steps are done or the callback returns false. A step whose loss or gradient is not
  /// finite changes nothing of the student and is noted; throws Error when that happens in many steps in a row.
  DistillResult run(const Callback& callback = {});

  /// The student as it is now: with weights and projections, to be written with layers::write_network.
  layers::NetworkDescription student() const;
  const DistillJudge& judge() const;
  /// Pictures of the pool as they are now, at most `count`.
  std::vector<Tensor> pool_pictures(size_t count) const;

  /// Everything that run() needs to go on bit for bit.
  SafetensorsContent state() const;
  /// Throws Error when the state belongs to another teacher, other pictures or settings, naming what differs, or is
  /// incomplete; then the run is as it was.
  void load_state(const std::filesystem::path& path);
  /// Steps done.
  int64_t step() const;
  /// The curve of the whole run, of its parts before a resumption, too.
  const std::vector<DistillPoint>& history() const;
  const std::vector<DistillValidation>& validations() const;
  const DistillSettings& settings() const;
  int64_t parameter_count() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace minidl
