#pragma once
#include <minidl/apps/gatys_objective.h>
#include <minidl/core/image.h>
#include <minidl/core/safetensors.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace minidl {

/// The pictures of one run, [1, h, w, 3], RGB in [0, 255], each of its own size.
struct GatysPictures {
  Tensor content;
  std::vector<GatysObjective::Style> styles;
  Tensor init;  // for GatysInit::picture
};

/// One point of the loss curve.
struct GatysPoint {
  int iteration = 0;                                 // of the whole run
  int evaluations = 0;                               // of the loss, of the whole run
  double total = 0, content = 0, style = 0, tv = 0;  // weighted
  double seconds = 0;                                // since the run began, pauses between resumed parts left out
};

/// Where a run is; given to the callback before the first and after every iteration.
struct GatysProgress {
  int scale = 0, scales = 1;          // coarse to fine, from 0
  int64_t height = 0, width = 0;      // of the picture at this scale
  int iteration = 0, iterations = 0;  // of the whole run
  double work_done = 0;               // share of the run's pixels times iterations
  GatysLosses losses;
  double grad_norm = 0;  // ||d objective / d picture||_2
  GatysPoint point;
  std::string note;                 // something out of the ordinary, in words
  std::function<Tensor()> picture;  // the picture so far, in the size of the result and with its colours
};

struct GatysResult {
  Tensor picture;      // [1, h, w, 3], values may lie a little outside [0, 255]
  GatysLosses losses;  // of that picture, before original colours are put back
  double grad_norm = 0;
  std::vector<GatysPoint> history;
  int iterations = 0;
  double seconds = 0;
  bool cancelled = false;
};

/// Style transfer by optimising a picture (Gatys, Ecker, Bethge 2015; Guo & Wang). No flags, no files: pictures in,
/// picture out.
class Gatys {
 public:
  /// Returns false to stop after this iteration.
  using Callback = std::function<bool(const GatysProgress&)>;

  /// Keeps a reference to `network`, which is frozen and pools as the settings say (a student as it was trained); in
  /// fp16, when that is set now, it is normalised for the pictures (Vgg::normalize), and nobody else may do so before
  /// the run has ended. Throws Error for settings out of their range and for pictures that are too small.
  Gatys(layers::Vgg& network, GatysSettings settings, GatysPictures pictures);
  ~Gatys();
  Gatys(const Gatys&) = delete;
  Gatys& operator=(const Gatys&) = delete;

  /// Runs, or goes on, until every scale has had its iterations or the callback returns false. A loss or gradient that
  /// is not finite never ends a run: the optimiser goes back to the last good picture with a smaller step, and `note`
  /// names the term.
  GatysResult run(const Callback& callback = {});
  /// The loss of the starting picture at the last scale, without optimising; with its gradient when `gradient` is not
  /// nullptr. Throws Error once the run has begun.
  GatysLosses evaluate_start(Tensor* gradient = nullptr);

  /// Everything that run() needs to go on bit for bit: picture, optimiser, position, history.
  SafetensorsContent state() const;
  /// Throws Error when the state belongs to other pictures or settings, naming what differs, or is incomplete; then the
  /// run is as it was, or back at its beginning. The number of iterations may differ.
  void load_state(const std::filesystem::path& path);

  /// Sizes of the content picture at each scale, coarse to fine.
  std::vector<Extent> scale_sizes() const;
  /// Size of a style picture at a scale.
  Extent style_size(const Tensor& style, int scale) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace minidl
