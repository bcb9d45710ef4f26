#pragma once
#include <minidl/apps/gatys.h>
#include <minidl/apps/gatys_stepper.h>
#include <minidl/core/allocator.h>
#include <minidl/core/rng.h>
#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/reduce.h>

namespace minidl {

/// The inside of Gatys: its position in the run and what belongs to the scale it is at.
struct Gatys::Impl {
  Impl(layers::Vgg& vgg, GatysSettings given, GatysPictures given_pictures);

  GatysResult run(const Callback& callback);
  SafetensorsContent state() const;
  void load_state(const std::filesystem::path& path);
  /// Factors, loss scale and optimiser of the open scale.
  void load_scale(const SafetensorsReader& reader);

  void choose_sizes();
  Extent style_size(const Tensor& style, int index) const;
  Tensor resized_for_run(const Tensor& x, Extent size) const;
  Tensor start_picture(Extent size) const;
  /// Makes objective and optimiser for a scale; the picture is the one so far, resized, or the starting picture.
  void open_scale(int index);
  /// Back to before the first iteration.
  void close_scale();
  Tensor finished_picture() const;
  double work_done() const;
  void take(const GatysStepper::Step& step, double started);
  std::string pictures_fingerprint() const;

  layers::Vgg& network;
  GatysSettings settings;
  GatysPictures pictures;      // styles with their colours matched
  std::vector<Extent> sizes;   // of the content by scale, coarse to fine
  std::vector<double> shrink;  // size of the scale / size of the last

  int scale = -1;     // -1: not begun
  int iteration = 0;  // done at this scale
  int evaluations = 0;
  double seconds_before = 0;
  std::vector<GatysPoint> history;
  Tensor picture;  // [1, h, w, 3], shared with the stepper, which writes to it
  std::unique_ptr<GatysObjective> objective;
  std::unique_ptr<GatysStepper> stepper;
  std::optional<GatysStepper::Step> last_step;  // of the open scale: its losses are those of `picture`
};

}  // namespace minidl
