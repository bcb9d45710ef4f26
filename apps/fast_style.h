#pragma once
#include <minidl/apps/fast_style_objective.h>
#include <minidl/core/safetensors.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace minidl {

/// What the trainer needs besides its settings.
struct FastStyleData {
  std::vector<Tensor> styles;  // paintings [1, h, w, 3], RGB in [0, 255], each of its own size
  /// Photos of step 0, 1, ...: [batch, size, size, 3], RGB in [0, 255]. The same step must give the same photos,
  /// however often and in whatever run it is asked for: that is what lets a run go on bit for bit.
  std::function<Tensor(int64_t step)> photos;
  std::string photos_fingerprint;  // what they are, as "name value" pairs: a state goes on only with the same
  std::vector<Tensor> validation;  // held-out photos [1, h, w, 3]; may be empty
};

/// Mean losses over some steps, or at one when there are few: the training curve.
struct FastStylePoint {
  int64_t step = 0;                                  // the last one, counted from 1
  double total = 0, content = 0, style = 0, tv = 0;  // weighted
  double seconds = 0;                                // since the run began, pauses between resumed parts left out
};
struct FastStyleValidation {
  int64_t step = 0;
  double total = 0;  // mean over the held-out photos and the styles
};

/// Where a run is; given to the callback after every step.
struct FastStyleProgress {
  int64_t step = 0, steps = 0;  // done, planned
  FastStyleLosses losses;       // of this step's batch, before its update
  float lr = 0;
  double grad_norm = 0;  // ||gradient of all parameters||_2 before clipping
  double seconds = 0;
  std::optional<double> validation = {};  // when it was computed after this step
  std::string note = {};                  // something out of the ordinary, in words
};

struct FastStyleResult {
  int64_t steps = 0;
  double seconds = 0;
  bool cancelled = false;
  bool plateau = false;  // ended early because the held-out photos' loss no longer fell
};

/// When a run looks at its held-out photos, and when it gives up.
struct FastStyleWatch {
  int64_t validate_every = 0;  // steps; 0: never
  int patience = 0;            // validations in a row without a new best, after which the run ends; 0: goes on
};

/// Trains a transform net for one painting or several (Johnson, Alahi, Li 2016; conditional instance norm: Dumoulin,
/// Shlens, Kudlur 2017). No flags, no files. Step s learns style s modulo their number.
class FastStyle {
 public:
  /// Returns false to stop after this step.
  using Callback = std::function<bool(const FastStyleProgress&)>;

  /// Keeps a reference to `network`, which is frozen; in fp16, when that is set now, it is normalised for the paintings
  /// (Vgg::normalize), and nobody else may do so before the run has ended. Throws Error for settings out of their range
  /// and for pictures that do not fit.
  FastStyle(layers::Vgg& network, FastStyleSettings settings, FastStyleData data, FastStyleWatch watch = {});
  ~FastStyle();
  FastStyle(const FastStyle&) = delete;
  FastStyle& operator=(const FastStyle&) = delete;

  /// Runs, or goes on, until the steps are done, the callback returns false or the watch ends it. A step whose loss or
  /// gradient is not finite changes nothing and is noted; throws Error when that happens in many steps in a row.
  FastStyleResult run(const Callback& callback = {});

  /// The net as it is now; after a run that ended on a plateau, as it was at its best.
  layers::TransformNet& net();
  /// The net's picture for a photo [n, h, w, 3], as it would be applied.
  Tensor apply(const Tensor& photo, int style = 0);
  /// Losses of that picture.
  FastStyleLosses evaluate(const Tensor& photo, int style = 0);

  /// Everything that run() needs to go on bit for bit: parameters, Adam, position, curve.
  SafetensorsContent state() const;
  /// Throws Error when the state belongs to other paintings or settings, naming what differs, or is incomplete; then
  /// the run is as it was.
  void load_state(const std::filesystem::path& path);
  /// Steps done.
  int64_t step() const;
  /// The curve of the whole run, of its parts before a resumption, too.
  const std::vector<FastStylePoint>& history() const;
  const std::vector<FastStyleValidation>& validations() const;
  const FastStyleSettings& settings() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace minidl
