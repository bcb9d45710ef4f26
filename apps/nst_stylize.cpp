#include <fmt/format.h>
#include <minidl/apps/builtin_models.h>
#include <minidl/apps/common/frame_pipe.h>
#include <minidl/apps/common/program.h>
#include <minidl/apps/common/progress.h>
#include <minidl/apps/common/report.h>
#include <minidl/apps/common/result_files.h>
#include <minidl/apps/common/signals.h>
#include <minidl/apps/nst_stylize_flags.h>
#include <minidl/core/allocator.h>
#include <minidl/core/file.h>
#include <minidl/core/profile.h>
#include <minidl/version.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>

namespace minidl::apps {
namespace {

namespace fs = std::filesystem;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Stylizer load_stylizer(const StylizeOptions& options, Device device) {
  const SafetensorsReader reader = options.builtin.empty()
                                       ? SafetensorsReader(options.model)
                                       : builtin_model(BuiltinModel::Kind::style, options.builtin).open();
  layers::TransformNet net = layers::TransformNet::load(reader);
  net.to(device);
  StylizerSettings settings = options.settings;
  settings.max_memory = options.compute.max_memory;
  if (!options.builtin.empty() && !settings.margin) settings.margin = Stylizer::kBuiltinMargin;
  if (!options.mix.empty()) settings.styles = shares_of(options.mix, net.options().styles);
  settings.original_colors |= keeps_photo_colors(reader);
  return Stylizer(std::move(net), std::move(settings));
}

int print_builtin_styles(const StylizeOptions& options) {
  const std::vector<BuiltinModel> styles = builtin_models(BuiltinModel::Kind::style);
  if (styles.empty()) fmt::print("this build has no built-in styles\n");
  Json list = Json::array();
  for (const BuiltinModel& style : styles) {
    fmt::print("{:<16} {:>5.2f} MB  {}\n{:>26}{}; licence {}\n", style.name,
               1e-6 * static_cast<double>(style.bytes.size()), style.title, "", style.attribution, style.licence);
    list.push_back({{"name", style.name},
                    {"title", style.title},
                    {"bytes", style.bytes.size()},
                    {"attribution", style.attribution},
                    {"licence", style.licence}});
  }
  if (!options.reports.json.empty()) write_json(options.reports.json, {{"version", MINIDL_VERSION}, {"styles", list}});
  return kSuccess;
}

std::string plan_text(const StylizerPlan& plan) {
  return fmt::format("{}x{}, {}, {} of memory, {:.1f} GFLOP", plan.size.width, plan.size.height,
                     plan.in_strips ? "in strips of " + to_string(plan.storage) : "in one pass",
                     bytes_text(plan.memory_bytes), plan.flops * 1e-9);
}

/// Seconds for each floating-point operation of the net, tried on a small picture.
double seconds_per_flop(Stylizer& stylizer) {
  constexpr int64_t kSide = 256;
  const Tensor picture = Tensor::full({1, kSide, kSide, 3}, 100.0f);
  stylizer(picture), stylizer(picture);
  const auto start = std::chrono::steady_clock::now();
  stylizer(picture);
  return seconds_since(start) / stylizer.plan(kSide, kSide).flops;
}

/// Of the file that --json names.
void check_report(const StylizeOptions& options, const std::vector<ResultFile>& files = {}) {
  const fs::path json = options.reports.json;
  if (json.empty()) return;
  check_can_write(json);
  const auto same = [&](const fs::path& path) { return is_same_file(json, path); };
  const bool is_needed =
      (!options.model.empty() && same(options.model)) ||
      std::any_of(files.begin(), files.end(), [&](const auto& file) { return same(file.input) || same(file.output); });
  MINIDL_CHECK(!is_needed, "--json '{}' would replace the model, a picture or a result; choose another name",
               json.string());
}

/// The pictures of one run, one after the other. A picture that fails does not stop the others.
class Batch {
 public:
  Batch(const StylizeOptions& options, std::vector<ResultFile> files) : options_(options), files_(std::move(files)) {
    report_["version"] = MINIDL_VERSION;
    report_["model"] = model_name(options_);
    report_["files"] = Json::array();
  }

  /// What is wrong with outputs is found before the first second of work.
  void check_outputs() const {
    if (!options_.output_dir.empty()) {
      for (const ResultFile& file : files_) make_folder(file.output.parent_path());
    }
    check_report(options_, files_);
    for (const ResultFile& file : files_) check_image_output(file.output);
  }

  /// Returns the exit code: some pictures cannot be read.
  int print_plan(Stylizer& stylizer) {
    const layers::TransformNetOptions& net = stylizer.net().options();
    fmt::print("net: width {}, {} residual blocks, {} style{}\n", net.width, net.residual_blocks, net.styles,
               net.styles == 1 ? "" : "s");
    double flops = 0.0;
    for (const ResultFile& file : files_) {
      try {
        const Shape shape = load_image(file.input).shape();
        const StylizerPlan plan = stylizer.plan(shape[1], shape[2]);
        fmt::print("{} -> {}: {}\n", file.input.string(), file.output.string(), plan_text(plan));
        flops += plan.flops;
      } catch (const Error& error) {
        if (files_.size() == 1) throw;
        ++failed_;
        print_error(error.what());
      }
    }
    fmt::print("about {} on this machine as it is now (an estimate)\n",
               duration_text(flops * seconds_per_flop(stylizer)));
    return exit_code();
  }

  int run(Stylizer& stylizer, ProgressLine& line, const StopSignals& signals) {
    const auto start = std::chrono::steady_clock::now();
    for (const ResultFile& file : files_) {
      if (signals.requested()) break;
      paint(stylizer, file, line);
    }
    const double seconds = seconds_since(start);
    if (files_.size() > 1 || signals.requested()) {
      line.message(fmt::format("{} of {} pictures in {}{}", painted_, files_.size(), duration_text(seconds),
                               failed_ > 0 ? fmt::format(", {} failed", failed_) : ""));
    }
    if (!options_.reports.json.empty()) write_report(seconds, stylizer.net().device());
    if (signals.requested()) return signals.exit_code();
    return exit_code();
  }

 private:
  int exit_code() const { return failed_ > 0 ? kFailure : kSuccess; }

  static void make_folder(const fs::path& folder) {
    std::error_code error;
    fs::create_directories(folder, error);
    MINIDL_CHECK(fs::is_directory(folder), "the folder '{}' cannot be made: {}", folder.string(),
                 error ? error.message() : "there is a file of that name");
  }

  void paint(Stylizer& stylizer, const ResultFile& file, ProgressLine& line) {
    Json entry = {{"input", file.input.string()}};
    try {
      const auto start = std::chrono::steady_clock::now();
      const Image picture = load_image_file(file.input);
      const auto before_painting = std::chrono::steady_clock::now();
      Image result{.rgb = stylizer(picture.rgb), .alpha = picture.alpha};
      const double painting = seconds_since(before_painting);
      const Shape shape = result.rgb.shape();
      if (result.alpha) result.alpha = resize_image(picture.alpha, shape[1], shape[2]);
      save_image_file(file.output, result, {.bit_depth = bit_depth_for(file.output, picture.bit_depth)});
      const double seconds = seconds_since(start);
      entry.update({{"output", file.output.string()},
                    {"width", shape[2]},
                    {"height", shape[1]},
                    {"seconds", seconds},
                    {"painting_seconds", painting}});
      ++painted_;
      line.message(fmt::format("saved {} ({} x {}) in {:.2f} s", file.output.string(), shape[2], shape[1], seconds));
      if (options_.reports.verbose)
        line.message("  " + plan_text(stylizer.plan(picture.rgb.shape()[1], picture.rgb.shape()[2])));
    } catch (const Error& error) {
      if (files_.size() == 1) throw;
      ++failed_;
      entry["error"] = error.what();
      line.finish();
      print_error(error.what());
    }
    report_["files"].push_back(std::move(entry));
  }

  void write_report(double seconds, Device device) {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    report_["pictures"] = painted_;
    report_["failed"] = failed_;
    report_["seconds"] = seconds;
    report_["peak_memory_bytes"] = static_cast<int64_t>(usage.ru_maxrss) * 1024;
    report_["peak_tensor_bytes"] = allocator(device).stats().peak_in_use;
    write_json(options_.reports.json, report_);
  }

  const StylizeOptions& options_;
  std::vector<ResultFile> files_;
  Json report_;
  int painted_ = 0, failed_ = 0;
};

int run_batch(const StylizeOptions& options, Stylizer& stylizer) {
  std::vector<ResultFile> files;
  if (options.output_dir.empty()) {
    files = {{options.inputs.front(), options.output}};
    check_result_files(files);
  } else {
    files = find_result_files(options.inputs, options.output_dir);
  }
  Batch batch(options, std::move(files));
  if (options.compute.dry_run) {
    return batch.print_plan(stylizer);
  }
  batch.check_outputs();
  ProgressLine line({.quiet = options.reports.quiet, .verbose = options.reports.verbose});
  const StopSignals signals;
  return batch.run(stylizer, line, signals);
}

int run_pipe(const StylizeOptions& options, Stylizer& stylizer) {
  const Extent& size = *options.pipe;
  const StylizerPlan plan = stylizer.plan(size.height, size.width);
  if (options.compute.dry_run) {
    fmt::print("frames of {}\nabout {:.2f} s for each on this machine as it is now (an estimate)\n", plan_text(plan),
               plan.flops * seconds_per_flop(stylizer));
    return kSuccess;
  }
  check_report(options);
  std::signal(SIGPIPE, SIG_IGN);  // writing fails instead, with its reason
  const StopSignals signals;
  ProgressLine line({.quiet = options.reports.quiet, .verbose = options.reports.verbose});
  const auto start = std::chrono::steady_clock::now();
  const int64_t frames = pipe_frames(
      STDIN_FILENO, STDOUT_FILENO, size, [&](const Tensor& frame) { return stylizer(frame); },
      [&] { return signals.requested(); });
  const double seconds = seconds_since(start);
  line.message(fmt::format("{} frames in {} ({:.2f} a second)", frames, duration_text(seconds),
                           static_cast<double>(frames) / std::max(seconds, 1e-9)));
  if (!options.reports.json.empty()) {
    write_json(options.reports.json, {{"version", MINIDL_VERSION},
                                      {"model", model_name(options)},
                                      {"width", size.width},
                                      {"height", size.height},
                                      {"frames", frames},
                                      {"seconds", seconds},
                                      {"peak_tensor_bytes", allocator(stylizer.net().device()).stats().peak_in_use}});
  }
  return signals.requested() ? signals.exit_code() : kSuccess;
}

int run(int argc, char** argv) {
  StylizeOptions options;
  if (!parse_stylize_options(argc, argv, options)) return kSuccess;
  if (options.list) return print_builtin_styles(options);
  const Device device = apply_compute_flags(options.compute);
  Stylizer stylizer = load_stylizer(options, device);
  Profile::enable(options.reports.verbose);
  const int code = options.pipe ? run_pipe(options, stylizer) : run_batch(options, stylizer);
  if (options.reports.verbose) fmt::print(stderr, "{}", Profile::table());
  return code;
}

}  // namespace
}  // namespace minidl::apps

int main(int argc, char** argv) {
  return minidl::apps::run_program([&] { return minidl::apps::run(argc, argv); });
}
