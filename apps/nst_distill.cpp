#include <fmt/format.h>
#include <minidl/apps/common/program.h>
#include <minidl/apps/common/progress.h>
#include <minidl/apps/common/training_run.h>
#include <minidl/apps/distill_output.h>
#include <minidl/core/allocator.h>
#include <minidl/core/image.h>
#include <minidl/kernels/execution.h>

namespace minidl::apps {
namespace {

// The teacher's transformed filters, beside which those of the student are small.
constexpr int64_t kFilterCache = int64_t{128} << 20;

Tensor load_scaled(const std::string& path, int64_t longer_side) {
  const Tensor picture = load_image(path);
  const Extent extent = fit_longer_side(picture.shape()[1], picture.shape()[2], longer_side);
  return resize_image(picture, extent.height, extent.width);
}

PhotoBatchesOptions batches_options(const DistillOptions& options, uint64_t seed) {
  return {.sampling = {.size = options.settings.size, .zoom = options.zoom, .seed = seed},
          .batch = options.settings.batch,
          .cache = options.cache};
}

DistillData load_data(const DistillOptions& options, PhotoBatches& photos, PhotoBatches& paintings) {
  DistillData data;
  data.photos = [&photos](int64_t step) { return photos.at(step); };
  data.paintings = [&paintings](int64_t step) { return paintings.at(step); };
  data.fingerprint = photos.fingerprint("photos_") + " " + paintings.fingerprint("paintings_");
  for (size_t i = 0; i < options.validation_contents.size(); ++i)
    data.validation.push_back({load_scaled(options.validation_contents[i], options.validation_size),
                               load_scaled(options.validation_styles[i], options.validation_size)});
  return data;
}

ProgressSample sample_of(const DistillProgress& progress, const DistillOptions& options) {
  ProgressSample sample{.iteration = progress.step,
                        .iterations = progress.steps,
                        .loss = progress.total,
                        .parts = {{"given", progress.given.total}},
                        .peak_bytes = allocator(Device::cpu()).stats().peak_in_use,
                        .photos = options.settings.batch};
  if (!progress.pool.features.empty()) sample.parts.emplace_back("pool", progress.pool.total);
  sample.details = fmt::format("lr {:.3g} |gradient| {:.3g}", progress.lr, progress.grad_norm);
  return sample;
}

/// Two steps of the run, which it therefore makes.
std::string plan_text(Distill& training, const PhotoList& photos, const PhotoList& paintings) {
  const auto seconds = measure_step<DistillProgress>(training);
  const DistillSettings& settings = training.settings();
  return fmt::format(
      "student       {} parameters with its predictions of the teacher\n"
      "pictures      {} photos, {} paintings\n"
      "steps         {} of {} pictures of {} x {} pixels, after {} of them {} of the pool\n"
      "memory        {} of tensors at the peak of a step\n"
      "time          {} at {:.3g} s a step, measured now on this machine, without the pool's turns\n",
      training.parameter_count(), photos.count(), paintings.count(), settings.steps, settings.batch, settings.size,
      settings.size, settings.pretraining, settings.on_policy, bytes_text(allocator(Device::cpu()).stats().peak_in_use),
      duration_text(seconds * static_cast<double>(settings.steps)), seconds);
}

int run(int argc, char** argv) {
  DistillOptions options;
  if (!parse_distill_options(argc, argv, options)) return kSuccess;
  apply_compute_flags(options.compute);
  execution::set_precision(Precision::fp32);  // but where the settings say otherwise
  execution::set_filter_cache(kFilterCache);
  ProgressLine line({.quiet = options.reports.quiet, .verbose = options.reports.verbose});
  const PhotoList photo_list = list_photos(options.data), painting_list = list_photos(options.styles);
  PhotoBatches photos(photo_list, batches_options(options, options.compute.seed));
  DistillOptions without_cache = options;
  without_cache.cache.clear();
  PhotoBatches paintings(painting_list, batches_options(without_cache, options.compute.seed + 1));
  layers::Vgg teacher = layers::Vgg::load(options.weights, {.taps = options.settings.taps()});
  Distill training(teacher, options.settings, load_data(options, photos, paintings), options.watch);
  if (options.compute.dry_run) {
    fmt::print("{}", plan_text(training, photo_list, painting_list));
    return kSuccess;
  }

  const CheckpointFolder checkpoints = checkpoint_folder(options.training);
  go_on(training, options.training, options.settings.steps, "nst_distill", line);
  DistillOutput output(options, training, checkpoints, photos, paintings, line);
  return run_training<DistillProgress>(training, output, options.reports, line,
                                       [&](const DistillProgress& progress) { return sample_of(progress, options); });
}

}  // namespace
}  // namespace minidl::apps

int main(int argc, char** argv) {
  return minidl::apps::run_program([&] { return minidl::apps::run(argc, argv); });
}
