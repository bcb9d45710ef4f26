#include <fmt/format.h>
#include <minidl/apps/common/contact_sheet.h>
#include <minidl/apps/common/loss_plot.h>
#include <minidl/apps/common/report.h>
#include <minidl/apps/train_fast_output.h>
#include <minidl/core/file.h>
#include <minidl/core/image.h>
#include <minidl/version.h>

#include <cstdio>
#include <fstream>

namespace minidl::apps {
namespace {

namespace fs = std::filesystem;

constexpr size_t kSkipsTold = 5;  // by name; the log has them all

Tensor load_scaled(const fs::path& path, int64_t longer_side) {
  const Tensor photo = load_image(path);
  const Extent extent = fit_longer_side(photo.shape()[1], photo.shape()[2], longer_side);
  return resize_image(photo, extent.height, extent.width);
}

std::string names_of(const std::vector<std::string>& paths) {
  std::string names;
  for (const std::string& path : paths) names += (names.empty() ? "" : ", ") + fs::path(path).filename().string();
  return names;
}

}  // namespace

std::vector<Tensor> load_validation(const TrainFastOptions& options) {
  std::vector<Tensor> photos;
  if (options.validation.empty()) return photos;
  const PhotoList list = list_photos(options.validation);
  std::string reason;
  for (int64_t i = 0; i < list.count(); ++i) {
    try {
      const Tensor photo = load_image(list.path(i));
      const int64_t height = photo.shape()[1], width = photo.shape()[2], size = options.settings.size;
      const double factor = static_cast<double>(size) / static_cast<double>(std::min(height, width));
      const auto scaled = [&](int64_t side) {
        return std::max<int64_t>(size, std::llround(factor * static_cast<double>(side)));
      };
      photos.push_back(resize_image(photo, scaled(height), scaled(width)));
    } catch (const Error& error) {
      reason = error.what();
    }
  }
  MINIDL_CHECK(!photos.empty(), "[nst_train_fast] no photo in --validation {} can be read: {}", options.validation,
               reason);
  return photos;
}

TrainFastOutput::TrainFastOutput(const TrainFastOptions& options, FastStyle& training,
                                 const CheckpointFolder& checkpoints, PhotoBatches& batches, ProgressLine& line)
    : options_(options), training_(training), checkpoints_(checkpoints), batches_(batches), line_(line) {
  check_can_write(options.output);
  if (!options.plot.empty()) check_can_write(options.plot);
  for (const std::string& path : options.previews) previews_.push_back(load_scaled(path, options.preview_size));
  if (options.reports.json.empty()) return;
  check_can_write(options.reports.json);
  // A run that goes on adds to its log; a new one begins a new log.
  if (training.step() == 0) write_file_atomically(options.reports.json, nullptr, 0);
  Json styles = Json::array();
  for (const std::string& style : options.styles) styles.push_back(style);
  append_to_log({{"event", "start"},
                 {"version", MINIDL_VERSION},
                 {"step", training.step()},
                 {"steps", options.settings.steps},
                 {"styles", styles},
                 {"parameters", training.net().parameter_count()},
                 {"settings", training.settings().fingerprint()}});
}

void TrainFastOutput::warn(const std::string& text) {
  line_.finish();
  fmt::print(stderr, "warning: {}\n", text);
}

void TrainFastOutput::try_to(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    warn(error.what());
  }
}

void TrainFastOutput::append_to_log(const Json& entry) {
  const std::string text = entry.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  std::ofstream log(options_.reports.json, std::ios::app | std::ios::binary);
  log << text << std::flush;
  MINIDL_CHECK(log.good(), "[nst_train_fast] cannot write to --json {}", options_.reports.json);
}

void TrainFastOutput::log(const FastStyleProgress& progress) {
  if (options_.reports.json.empty()) return;
  Json entry = {{"event", "step"},
                {"step", progress.step},
                {"epoch", batches_.epoch()},
                {"total", progress.losses.total},
                {"content", progress.losses.content},
                {"style", progress.losses.style},
                {"tv", progress.losses.tv},
                {"content_layers", progress.losses.content_layers},
                {"style_layers", progress.losses.style_layers},
                {"lr", progress.lr},
                {"grad_norm", progress.grad_norm},
                {"seconds", progress.seconds}};
  if (progress.validation) entry["validation"] = *progress.validation;
  if (!progress.note.empty()) entry["note"] = progress.note;
  try_to([&] { append_to_log(entry); });
}

void TrainFastOutput::after_step(const FastStyleProgress& progress) {
  log(progress);
  report_skipped();
  const bool is_last = progress.step == progress.steps;
  if (!previews_.empty() && (progress.step % options_.preview_every == 0 || is_last)) save_previews(progress.step);
  if (progress.step % options_.checkpoint_every == 0 && !is_last) save_checkpoint(progress.step);
}

void TrainFastOutput::save_checkpoint(int64_t step) {
  try_to([&] { checkpoints_.save(step, training_.state()); });
  save_plot();
}

/// Each photo in a row: as it is, then in every style.
void TrainFastOutput::save_previews(int64_t step) {
  try_to([&] {
    std::vector<Tensor> pictures;
    const auto styles = static_cast<int>(options_.styles.size());
    for (const Tensor& photo : previews_) {
      pictures.push_back(photo);
      for (int style = 0; style < styles; ++style) pictures.push_back(training_.apply(photo, style));
    }
    const fs::path folder = options_.checkpoint_dir;
    save_image(folder / fmt::format("preview-{:09}.png", step), contact_sheet(pictures, {.columns = styles + 1}));
  });
}

void TrainFastOutput::save_plot() {
  if (options_.plot.empty()) return;
  LossPlot plot{.title = "Training: " + names_of(options_.styles),
                .curves = {{"total", {}}, {"content", {}}, {"style", {}}, {"validation", {}}}};
  for (const FastStylePoint& point : training_.history()) {
    const auto x = static_cast<double>(point.step);
    plot.curves[0].points.emplace_back(x, point.total);
    plot.curves[1].points.emplace_back(x, point.content);
    plot.curves[2].points.emplace_back(x, point.style);
  }
  for (const FastStyleValidation& point : training_.validations())
    plot.curves[3].points.emplace_back(static_cast<double>(point.step), point.total);
  if (training_.validations().empty()) plot.curves.pop_back();
  try_to([&] { save_loss_plot(options_.plot, plot); });
}

void TrainFastOutput::report_skipped() {
  const std::string problem = batches_.cache_problem();
  if (!problem.empty() && !cache_problem_told_) {
    cache_problem_told_ = true;
    warn("going on without the cache: " + problem);
  }
  const std::vector<SkippedPhoto> skipped = batches_.skipped();
  for (; reported_skips_ < skipped.size(); ++reported_skips_) {
    const SkippedPhoto& photo = skipped[reported_skips_];
    if (reported_skips_ < kSkipsTold) line_.message("left out: " + photo.reason);
    if (reported_skips_ == kSkipsTold) line_.message("more photos are left out; the end tells their number");
    if (options_.reports.json.empty()) continue;
    try_to([&] { append_to_log({{"event", "skipped"}, {"file", photo.file.string()}, {"reason", photo.reason}}); });
  }
}

void TrainFastOutput::finish(const FastStyleResult& result) {
  save_plot();
  if (!batches_.skipped().empty())
    line_.message(fmt::format("{} photos could not be read and were left out", batches_.skipped().size()));
  if (result.cancelled) {
    const fs::path path = checkpoints_.save(result.steps, training_.state());
    line_.message(fmt::format("stopped after step {}; {} has the state: go on with the same command and --resume",
                              result.steps, path.string()));
    return;
  }
  training_.net().save(options_.output,
                       {{"style", names_of(options_.styles)},
                        {"colors", options_.settings.original_colors ? "photo" : "style"},
                        {"training", training_.settings().fingerprint()},
                        {"loss_network", fs::path(options_.weights).filename().string()},
                        {"minidl_version", MINIDL_VERSION}},
                       options_.storage);
  if (!options_.reports.json.empty()) {
    append_to_log({{"event", "end"},
                   {"step", result.steps},
                   {"seconds", result.seconds},
                   {"plateau", result.plateau},
                   {"skipped", batches_.skipped().size()}});
  }
  line_.message(fmt::format("saved {} after {} steps in {}{}", options_.output, result.steps,
                            duration_text(result.seconds),
                            result.plateau ? ": the held-out photos' loss no longer fell" : ""));
}

}  // namespace minidl::apps
