#include <fmt/format.h>
#include <minidl/apps/common/loss_network.h>
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
#include <minidl/kernels/precision_scope.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>

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

/// One optimisation with one network; with quality `normal` a second one refines the first one's picture.
struct Stage {
  LossNetwork network;
  GatysSettings settings;
  GatysPictures pictures;
  fs::path resume;  // state file; empty: from the beginning

  /// The small network computes in bf16 unless --precision says something else: it is not exact in any arithmetic.
  Precision precision(const ComputeFlags& flags) const {
    const bool small = network.network.description().is_student();
    return small && !flags.precision ? Precision::bf16 : execution::precision();
  }
};

// Iterations with VGG on a picture that the small network has made, at its full size.
constexpr int kRefinement = 20;
constexpr const char* kRefinedPicture = "refined";  // in a state file of the second optimisation: what it began with

bool is_refined(const GatysOptions& options) {
  return options.quality == Quality::normal && !options.weights.empty();
}

Stage first_stage(const Job& job) {
  const GatysOptions& options = job.options;
  GatysSettings settings = options.settings;
  if (is_refined(options)) settings.original_colors = false;  // put back at the end
  LossNetwork network = options.quality == Quality::best ? load_network(options.weights, settings.taps())
                                                         : load_small_network(options.student, settings.taps());
  return {std::move(network), settings, job.pictures, options.resume};
}

Stage refinement(const Job& job, const Tensor& picture) {
  GatysSettings settings = job.options.settings;
  settings.scales = 1;
  settings.init = GatysInit::picture;
  settings.iterations = std::min(settings.iterations, kRefinement);
  GatysPictures pictures = job.pictures;
  pictures.init = picture;
  return {load_network(job.options.weights, settings.taps()), settings, std::move(pictures), {}};
}

/// The second stage when that is what the state file belongs to.
std::optional<Stage> resumed_refinement(const Job& job) {
  if (!is_refined(job.options) || job.options.resume.empty()) return {};
  const SafetensorsReader reader{fs::path(job.options.resume)};
  if (!reader.contains(kRefinedPicture)) return {};
  Stage stage = refinement(job, reader.read(kRefinedPicture));
  stage.resume = job.options.resume;
  return stage;
}

/// Stages run one after the other, and what is the same for all of them.
class Run {
 public:
  Run(const Job& job, Device device, const StopSignals& signals, ProgressLine& line)
      : job_(job), device_(device), signals_(signals), line_(line) {}

  void prepare(Stage& stage) const {
    if (stage.network.network.description().is_student())
      line_.message(fmt::format("network: {}; --weights takes the original VGG", stage.network.name));
    stage.network.network.to(device_);
  }

  /// Leaves the state in a file when it is stopped.
  GatysResult optimise(Stage& stage) const {
    prepare(stage);
    const execution::PrecisionScope precision(stage.precision(job_.options.compute));
    Gatys gatys(stage.network.network, stage.settings, stage.pictures);
    if (!stage.resume.empty()) gatys.load_state(stage.resume);
    fit(gatys, stage);
    const fs::path output = job_.options.output;
    GatysResult result = gatys.run([&](const GatysProgress& progress) {
      line_.update(sample_of(progress, device_));
      if (!progress.note.empty()) line_.message(fmt::format("iteration {}: {}", progress.iteration, progress.note));
      if (job_.options.save_every > 0 && progress.iteration % job_.options.save_every == 0) {
        job_.save_picture(numbered_path(output, progress.iteration), progress.picture());
        save_state(gatys, stage);
      }
      return !signals_.requested();
    });
    line_.finish();
    if (result.cancelled) save_state(gatys, stage);
    return result;
  }

  void print_plan(Stage& stage) const {
    prepare(stage);
    const execution::PrecisionScope precision(stage.precision(job_.options.compute));
    Gatys gatys(stage.network.network, stage.settings, stage.pictures);
    if (!stage.resume.empty()) gatys.load_state(stage.resume);
    fit(gatys, stage);
    fmt::print("{}", plan_text(gatys, stage.network.network, stage.settings, stage.pictures));
  }

 private:
  void fit(const Gatys& gatys, Stage& stage) const {
    if (job_.options.compute.max_memory == 0) return;
    fit_memory(
        stage.network.network,
        [&] { return plan_memory(gatys, stage.network.network, stage.settings, stage.pictures); },
        job_.options.compute.max_memory);
  }
  void save_state(const Gatys& gatys, const Stage& stage) const {
    SafetensorsContent content = gatys.state();
    if (is_refined(job_.options) && stage.pictures.init && !stage.network.network.description().is_student())
      content.tensors.emplace_back(kRefinedPicture, stage.pictures.init);
    write_safetensors(state_path(job_.options.output), content);
  }

  const Job& job_;
  Device device_;
  const StopSignals& signals_;
  ProgressLine& line_;
};

int run(int argc, char** argv) {
  GatysOptions options;
  if (!parse_gatys_options(argc, argv, options)) return kSuccess;
  const Device device = apply_compute_flags(options.compute);
  const Job job(options);
  ProgressLine line({.quiet = options.reports.quiet, .verbose = options.reports.verbose});
  const StopSignals signals;
  const Run stages(job, device, signals, line);
  std::optional<Stage> second = resumed_refinement(job);
  Stage stage = second ? std::move(*second) : first_stage(job);
  if (options.compute.dry_run) {
    stages.print_plan(stage);
    return kSuccess;
  }

  Profile::enable(options.reports.verbose);
  GatysResult result = stages.optimise(stage);
  if (is_refined(options) && !second && !result.cancelled) {
    const double seconds = result.seconds;
    stage = refinement(job, result.picture);
    result = stages.optimise(stage);
    result.seconds += seconds;
  }
  if (!options.output.empty()) {
    job.save_picture(options.output, result.picture);
    line.message(fmt::format("saved {} ({} x {}) after {} iterations in {}", options.output, result.picture.shape()[2],
                             result.picture.shape()[1], result.iterations, duration_text(result.seconds)));
  }
  if (!options.reports.json.empty()) {
    const execution::PrecisionScope precision(stage.precision(options.compute));
    Json report = json_report(result, stage.network.network, stage.settings, device);
    report["network"] = stage.network.name;
    write_json(options.reports.json, report);
  }
  if (options.reports.verbose) fmt::print(stderr, "{}", Profile::table());
  if (!result.cancelled) return kSuccess;
  line.message(
      fmt::format("stopped; go on with the same command and --resume {}", state_path(options.output).string()));
  return signals.exit_code();
}

}  // namespace
}  // namespace minidl::apps

int main(int argc, char** argv) {
  return minidl::apps::run_program([&] { return minidl::apps::run(argc, argv); });
}
