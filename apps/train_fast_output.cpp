#include <fmt/format.h>
#include <minidl/apps/common/contact_sheet.h>
#include <minidl/apps/common/loss_plot.h>
#include <minidl/apps/train_fast_output.h>
#include <minidl/core/file.h>
#include <minidl/core/image.h>
#include <minidl/version.h>

namespace minidl::apps {
namespace {

namespace fs = std::filesystem;

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
    : options_(options),
      training_(training),
      checkpoints_(checkpoints),
      batches_(batches),
      line_(line),
      output_(options.reports.json, training.step() == 0, line) {
  check_can_write(options.output);
  if (!options.training.plot.empty()) check_can_write(options.training.plot);
  for (const std::string& path : options.previews) previews_.push_back(load_scaled(path, options.preview_size));
  Json styles = Json::array();
  for (const std::string& style : options.styles) styles.push_back(style);
  output_.log({{"event", "start"},
               {"version", MINIDL_VERSION},
               {"step", training.step()},
               {"steps", options.settings.steps},
               {"styles", styles},
               {"parameters", training.net().parameter_count()},
               {"settings", training.settings().fingerprint()}});
}

void TrainFastOutput::log(const FastStyleProgress& progress) {
  if (!output_.has_log()) return;
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
  output_.try_to([&] { output_.log(entry); });
}

void TrainFastOutput::after_step(const FastStyleProgress& progress) {
  log(progress);
  output_.report_skipped(batches_);
  const bool is_last = progress.step == progress.steps;
  if (!previews_.empty() && (progress.step % options_.preview_every == 0 || is_last)) save_previews(progress.step);
  // With a constant rate a run that is over may go on for more steps.
  const bool may_go_on = options_.settings.schedule == LrSchedule::constant;
  if (is_last ? may_go_on : progress.step % options_.training.checkpoint_every == 0) save_checkpoint(progress.step);
}

void TrainFastOutput::save_checkpoint(int64_t step) {
  output_.try_to([&] { checkpoints_.save(step, training_.state()); });
  save_plot();
}

/// Each photo in a row: as it is, then in every style.
void TrainFastOutput::save_previews(int64_t step) {
  output_.try_to([&] {
    std::vector<Tensor> pictures;
    const auto styles = static_cast<int>(options_.styles.size());
    for (const Tensor& photo : previews_) {
      pictures.push_back(photo);
      for (int style = 0; style < styles; ++style) pictures.push_back(training_.apply(photo, style));
    }
    const fs::path folder = options_.training.checkpoint_dir;
    save_image(folder / fmt::format("preview-{:09}.png", step), contact_sheet(pictures, {.columns = styles + 1}));
  });
}

void TrainFastOutput::save_plot() {
  if (options_.training.plot.empty()) return;
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
  output_.try_to([&] { save_loss_plot(options_.training.plot, plot); });
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
  output_.log({{"event", "end"},
               {"step", result.steps},
               {"seconds", result.seconds},
               {"plateau", result.plateau},
               {"skipped", batches_.skipped().size()}});
  line_.message(fmt::format("saved {} after {} steps in {}{}", options_.output, result.steps,
                            duration_text(result.seconds),
                            result.plateau ? ": the held-out photos' loss no longer fell" : ""));
}

}  // namespace minidl::apps
