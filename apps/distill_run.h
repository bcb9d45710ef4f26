#pragma once
#include <minidl/apps/distill.h>
#include <minidl/apps/distill_pool.h>
#include <minidl/optim/adam.h>

namespace minidl {

/// The inside of Distill.
struct Distill::Impl {
  Impl(layers::Vgg& network, DistillSettings given, DistillData given_data, DistillWatch given_watch);

  DistillResult run(const Callback& callback);
  DistillProgress train_step();
  /// Before the first step; whether first weights could be fitted.
  bool start_from_teacher();
  /// The pictures of the step: those of the pool first, whose number is written to `from_pool`.
  std::vector<Tensor> pictures_of_step(int64_t& from_pool);
  /// Leaves the gradient in the parameters.
  void compute_gradient(const std::vector<Tensor>& pictures, int64_t from_pool, DistillProgress& progress);
  void look_at_validation(DistillProgress& progress);
  void close_point(const DistillProgress& progress);
  SafetensorsContent state() const;
  void load_state(const std::filesystem::path& path);
  std::string fingerprint() const;

  layers::Vgg& teacher;
  DistillSettings settings;
  DistillData data;
  DistillWatch watch;
  DistillObjective objective;
  DistillStudent student;
  optim::Adam adam;
  DistillPool pool;
  DistillJudge judge;

  int64_t step = 0;  // done
  int bad_steps = 0;
  double seconds_before = 0, seconds_so_far = 0;
  int64_t points_every;
  DistillPoint sum;  // of the steps since the last point
  int64_t summed = 0;
  std::vector<DistillPoint> history;
  std::vector<DistillValidation> validations;
};

}  // namespace minidl
