#pragma once
#include <minidl/apps/fast_style.h>
#include <minidl/apps/loss_scale.h>
#include <minidl/core/cuda/recording.h>
#include <minidl/optim/adam.h>

#include <optional>

namespace minidl {

/// The inside of FastStyle.
struct FastStyle::Impl {
  Impl(layers::Vgg& vgg, FastStyleSettings given, FastStyleData given_data, FastStyleWatch given_watch);

  FastStyleResult run(const Callback& callback);
  /// Forward, backward and, when all is finite, the update.
  FastStyleProgress train_step();
  /// Everything that a step computes before the update.
  struct Computed {
    std::vector<FastStyleTerm> terms;
    std::vector<Tensor> grads;  // of each parameter; undefined without a gradient
    Tensor squared_norm;        // of all of them, an f64 scalar
  };
  /// A step on a CUDA device, as it is repeated for each batch.
  struct Repeated {
    cuda::Recording recording;
    std::string settings;                // of the execution
    std::vector<const void*> addresses;  // of the net's values
    Tensor photos;
    Computed computed;
  };
  /// Leaves the gradient of the next step in the parameters; returns its norm.
  double compute_gradient(FastStyleLosses& losses);
  /// By the loss's gradient with respect to the net's pictures, in all styles, for the photos of the first step.
  void choose_loss_scale(const Tensor& photos);
  /// Copies of the net's buffers: batch norm's averages.
  std::vector<Tensor> buffers() const;
  void set_buffers(const std::vector<Tensor>& values);
  Computed compute(const Tensor& photos, int style);
  const Computed& repeat(const Tensor& photos);
  std::vector<const void*> addresses() const;
  void update(double grad_norm);
  Tensor apply(const Tensor& photo, int style);
  FastStyleLosses evaluate(const Tensor& photo, int style);
  double validate();
  void look_at_validation(FastStyleProgress& progress);
  void close_point(double seconds);
  int style_at(int64_t index) const;
  SafetensorsContent state() const;
  void load_state(const std::filesystem::path& path);
  std::string pictures_fingerprint() const;
  std::string fingerprint() const;

  layers::Vgg& network;
  FastStyleSettings settings;
  FastStyleData data;
  FastStyleWatch watch;
  FastStyleObjective objective;
  layers::TransformNet net;
  optim::Adam adam;
  LossScale loss_scale;

  int64_t step = 0;  // done
  int bad_steps = 0;
  double seconds_before = 0, seconds_so_far = 0;
  std::vector<FastStylePoint> history;
  int64_t points_every;
  FastStylePoint sum;  // of the steps since the last point
  int64_t summed = 0;
  std::vector<FastStyleValidation> validations;
  double best_total = 0;
  int without_best = 0;     // validations since the best one
  SafetensorsContent best;  // the net at its best validation, when there is a patience
  std::optional<Repeated> repeated;
};

}  // namespace minidl
