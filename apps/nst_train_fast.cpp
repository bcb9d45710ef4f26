#include <fmt/format.h>
#include <minidl/apps/common/program.h>
#include <minidl/apps/common/progress.h>
#include <minidl/apps/common/training_run.h>
#include <minidl/apps/train_fast_output.h>
#include <minidl/apps/train_fast_plan.h>
#include <minidl/core/allocator.h>
#include <minidl/core/image.h>

namespace minidl::apps {
namespace {

FastStyleData load_data(const TrainFastOptions& options, PhotoBatches& batches) {
  FastStyleData data;
  for (const std::string& path : options.styles) {
    const Tensor style = load_image(path);
    const Extent extent = fit_longer_side(style.shape()[1], style.shape()[2], options.style_size);
    data.styles.push_back(resize_image(style, extent.height, extent.width));
  }
  data.photos = [&batches](int64_t step) { return batches.at(step); };
  data.photos_fingerprint = batches.fingerprint();
  data.validation = load_validation(options);
  return data;
}

ProgressSample sample_of(const FastStyleProgress& progress, const TrainFastOptions& options, Device device) {
  ProgressSample sample{.iteration = progress.step,
                        .iterations = progress.steps,
                        .loss = progress.losses.total,
                        .parts = {{"content", progress.losses.content}, {"style", progress.losses.style}},
                        .peak_bytes = allocator(device).stats().peak_in_use,
                        .photos = options.settings.batch};
  if (progress.losses.tv > 0) sample.parts.emplace_back("tv", progress.losses.tv);
  if (progress.validation) sample.parts.emplace_back("validation", *progress.validation);
  sample.details = fmt::format("lr {:.3g} |gradient| {:.3g}", progress.lr, progress.grad_norm);
  return sample;
}

int run(int argc, char** argv) {
  TrainFastOptions options;
  if (!parse_train_fast_options(argc, argv, options)) return kSuccess;
  const Device device = apply_compute_flags(options.compute);
  ProgressLine line({.quiet = options.reports.quiet, .verbose = options.reports.verbose});
  const PhotoList photos = list_photos(options.data);
  PhotoBatches batches(photos, {.sampling = {.size = options.settings.size,
                                             .zoom = options.zoom,
                                             .flip = options.flip,
                                             .seed = options.compute.seed},
                                .batch = options.settings.batch,
                                .cache = options.cache});
  layers::Vgg network = layers::Vgg::load(options.weights, {.taps = options.settings.taps()});
  network.to(device);
  FastStyle training(network, options.settings, load_data(options, batches), options.watch);
  if (options.compute.dry_run) {
    fmt::print("{}", plan_text(training, options, photos, device));
    return kSuccess;
  }

  const CheckpointFolder checkpoints = checkpoint_folder(options.training);
  go_on(training, options.training, options.settings.steps, "nst_train_fast", line);
  TrainFastOutput output(options, training, checkpoints, batches, line);
  return run_training<FastStyleProgress>(
      training, output, options.reports, line,
      [&](const FastStyleProgress& progress) { return sample_of(progress, options, device); });
}

}  // namespace
}  // namespace minidl::apps

int main(int argc, char** argv) {
  return minidl::apps::run_program([&] { return minidl::apps::run(argc, argv); });
}
