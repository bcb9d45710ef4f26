#include <fmt/format.h>
#include <minidl/apps/common/program.h>
#include <minidl/apps/common/progress.h>
#include <minidl/apps/common/report.h>
#include <minidl/apps/common/signals.h>
#include <minidl/apps/gatys_report.h>
#include <minidl/apps/memory_plan.h>
#include <minidl/apps/nst_gatys_flags.h>
#include <minidl/core/allocator.h>
#include <minidl/core/file.h>
#include <minidl/core/profile.h>

#include <filesystem>

namespace minidl::apps {
namespace {

namespace fs = std::filesystem;

fs::path state_path(const fs::path& output) {
  return fs::path(output).replace_extension(".state.safetensors");
}

fs::path numbered_path(const fs::path& output, int iteration) {
  fs::path path = output;
  return path.replace_filename(
      fmt::format("{}_{:05}{}", output.stem().string(), iteration, output.extension().string()));
}

/// Everything is opened and checked before the first second of work.
struct Job {
  explicit Job(const GatysOptions& given) : options(given), content(load_image_file(given.content)) {
    const fs::path output = options.output;
    save_options.bit_depth = bit_depth_for(output, content.bit_depth);
    if (!options.output.empty()) {
      check_is_no_input(output);
      check_image_output(output, save_options.bit_depth);
      check_can_write(state_path(output));
    }
    if (!options.reports.json.empty()) check_can_write(options.reports.json);
    pictures.content = content.rgb;
    for (const WeightedFile& style : options.styles) pictures.styles.push_back({load_image(style.path), style.weight});
    if (!options.init_file.empty()) pictures.init = load_image(options.init_file);
  }

  /// The result must not take the place of a picture that it is made from.
  void check_is_no_input(const fs::path& output) const {
    std::vector<fs::path> inputs = {options.content, options.init_file};
    for (const WeightedFile& style : options.styles) inputs.emplace_back(style.path);
    for (const fs::path& input : inputs) {
      std::error_code ignored;  // of files that do not exist
      MINIDL_CHECK(!fs::equivalent(output, input, ignored),
                   "[nst_gatys] --output {} is one of the input pictures and would replace it; choose another name",
                   output.string());
    }
  }

  void save_picture(const fs::path& path, const Tensor& rgb) const {
    Image image{.rgb = rgb, .alpha = content.alpha};
    if (image.alpha) image.alpha = resize_image(content.alpha, rgb.shape()[1], rgb.shape()[2]);
    save_image_file(path, image, save_options);
  }

  GatysOptions options;
  Image content;
  SaveOptions save_options;
  GatysPictures pictures;
};

ProgressSample sample_of(const GatysProgress& progress, Device device) {
  ProgressSample sample{.stage = fmt::format("{}x{}", progress.width, progress.height),
                        .iteration = progress.iteration,
                        .iterations = progress.iterations,
                        .work_done = progress.work_done,
                        .loss = progress.losses.total,
                        .parts = {{"content", progress.losses.content}, {"style", progress.losses.style}},
                        .peak_bytes = allocator(device).stats().peak_in_use};
  if (progress.losses.tv_term > 0) sample.parts.emplace_back("tv", progress.losses.tv_term);
  sample.details = fmt::format("evaluations {} |gradient| {:.3g}", progress.point.evaluations, progress.grad_norm);
  return sample;
}

GatysResult optimise(Gatys& gatys, const Job& job, Device device, const StopSignals& signals, ProgressLine& line) {
  const fs::path output = job.options.output;
  return gatys.run([&](const GatysProgress& progress) {
    line.update(sample_of(progress, device));
    if (!progress.note.empty()) line.message(fmt::format("iteration {}: {}", progress.iteration, progress.note));
    if (job.options.save_every > 0 && progress.iteration % job.options.save_every == 0) {
      job.save_picture(numbered_path(output, progress.iteration), progress.picture());
      write_safetensors(state_path(output), gatys.state());
    }
    return !signals.requested();
  });
}

int run(int argc, char** argv) {
  GatysOptions options;
  if (!parse_gatys_options(argc, argv, options)) return kSuccess;
  const Device device = apply_compute_flags(options.compute);
  const Job job(options);
  layers::Vgg network = layers::Vgg::load(options.weights, {.taps = options.settings.taps()});
  network.to(device);
  Gatys gatys(network, options.settings, job.pictures);
  if (!options.resume.empty()) gatys.load_state(options.resume);
  if (options.compute.max_memory > 0) {
    fit_memory(
        network, [&] { return plan_memory(gatys, network, options.settings, job.pictures); },
        options.compute.max_memory);
  }
  if (options.compute.dry_run) {
    fmt::print("{}", plan_text(gatys, network, options.settings, job.pictures));
    return kSuccess;
  }

  Profile::enable(options.reports.verbose);
  ProgressLine line({.quiet = options.reports.quiet, .verbose = options.reports.verbose});
  const StopSignals signals;
  const GatysResult result = optimise(gatys, job, device, signals, line);
  line.finish();
  if (!options.output.empty()) {
    job.save_picture(options.output, result.picture);
    line.message(fmt::format("saved {} ({} x {}) after {} iterations in {}", options.output, result.picture.shape()[2],
                             result.picture.shape()[1], result.iterations, duration_text(result.seconds)));
  }
  if (!options.reports.json.empty())
    write_json(options.reports.json, json_report(result, network, options.settings, device));
  if (options.reports.verbose) fmt::print(stderr, "{}", Profile::table());
  if (!result.cancelled) return kSuccess;
  const fs::path state = state_path(options.output);
  write_safetensors(state, gatys.state());
  line.message(fmt::format("stopped; go on with the same command and --resume {}", state.string()));
  return signals.exit_code();
}

}  // namespace
}  // namespace minidl::apps

int main(int argc, char** argv) {
  return minidl::apps::run_program([&] { return minidl::apps::run(argc, argv); });
}
