#include <fmt/format.h>
#include <minidl/apps/common/contact_sheet.h>
#include <minidl/apps/common/loss_plot.h>
#include <minidl/apps/distill_output.h>
#include <minidl/core/file.h>
#include <minidl/core/image.h>
#include <minidl/layers/vgg_weights.h>
#include <minidl/version.h>

namespace minidl::apps {
namespace {

namespace fs = std::filesystem;

constexpr size_t kPoolShown = 16;

Json json_of(const DistillErrors& errors) {
  return {{"total", errors.total}, {"features", errors.features}, {"grams", errors.grams}};
}

Json json_of(const DistillScore& score) {
  return {
      {"style_share", score.style_share}, {"paper_share", score.paper_share}, {"content_ratio", score.content_ratio}};
}

}  // namespace

DistillOutput::DistillOutput(const DistillOptions& options, Distill& training, const CheckpointFolder& checkpoints,
                             const PhotoBatches& photos, const PhotoBatches& paintings, ProgressLine& line)
    : options_(options),
      training_(training),
      checkpoints_(checkpoints),
      photos_(photos),
      paintings_(paintings),
      line_(line),
      output_(options.reports.json, training.step() == 0, line) {
  check_can_write(options.output);
  if (!options.training.plot.empty()) check_can_write(options.training.plot);
  output_.log({{"event", "start"},
               {"version", MINIDL_VERSION},
               {"step", training.step()},
               {"steps", training.settings().steps},
               {"parameters", training.parameter_count()},
               {"settings", training.settings().fingerprint()}});
}

fs::path DistillOutput::in_folder(const std::string& name) const {
  return fs::path(options_.training.checkpoint_dir) / name;
}

void DistillOutput::log(const DistillProgress& progress) {
  if (!output_.has_log()) return;
  Json entry = {{"event", "step"},   {"step", progress.step},           {"total", progress.total},
                {"lr", progress.lr}, {"grad_norm", progress.grad_norm}, {"seconds", progress.seconds}};
  if (!progress.given.features.empty()) entry["given"] = json_of(progress.given);
  if (!progress.pool.features.empty()) entry["pool"] = json_of(progress.pool);
  if (progress.validation) entry["validation"] = json_of(*progress.validation);
  if (!progress.note.empty()) entry["note"] = progress.note;
  output_.try_to([&] { output_.log(entry); });
}

void DistillOutput::after_step(const DistillProgress& progress) {
  log(progress);
  output_.report_skipped(photos_);
  output_.report_skipped(paintings_);
  if (progress.validation) {
    line_.message(fmt::format(
        "step {}: style {:.3f} and the paper's loss {:.3f} of the teacher's, content {:.3f} times", progress.step,
        progress.validation->style_share, progress.validation->paper_share, progress.validation->content_ratio));
    save_pictures(progress.step);
  }
  if (progress.step % options_.training.checkpoint_every == 0 && progress.step != progress.steps)
    save_checkpoint(progress.step);
}

void DistillOutput::save_student(const fs::path& path) const {
  layers::NetworkDescription student = training_.student();
  student.notes = {{"training", training_.settings().fingerprint()},
                   {"teacher", fs::path(options_.weights).filename().string()},
                   {"minidl_version", MINIDL_VERSION}};
  if (!options_.attribution.empty()) student.notes["attribution"] = options_.attribution;
  layers::write_network(path, student, options_.storage);
}

void DistillOutput::save_checkpoint(int64_t step) {
  output_.try_to([&] { checkpoints_.save(step, training_.state()); });
  output_.try_to([&] { save_student(in_folder("student.safetensors")); });
  save_plot();
}

void DistillOutput::save_pictures(int64_t step) {
  output_.try_to([&] {
    const DistillJudge& judge = training_.judge();
    std::vector<Tensor> pictures;
    for (size_t i = 0; i < judge.pairs().size(); ++i) {
      pictures.push_back(judge.pairs()[i].content);
      pictures.push_back(judge.pairs()[i].style);
      if (!judge.teacher_pictures().empty()) pictures.push_back(judge.teacher_pictures()[i]);
      pictures.push_back(judge.pictures()[i]);
    }
    const int64_t columns = judge.teacher_pictures().empty() ? 3 : 4;
    save_image(in_folder(fmt::format("validation-{:09}.png", step)), contact_sheet(pictures, {.columns = columns}));
    const std::vector<Tensor> pool = training_.pool_pictures(kPoolShown);
    if (!pool.empty()) save_image(in_folder(fmt::format("pool-{:09}.png", step)), contact_sheet(pool));
  });
}

void DistillOutput::save_plot() {
  if (options_.training.plot.empty()) return;
  LossPlot plot{.title = "Distillation", .curves = {{"given pictures", {}}, {"pool", {}}}};
  for (const DistillPoint& point : training_.history()) {
    const auto x = static_cast<double>(point.step);
    plot.curves[0].points.emplace_back(x, point.given);
    if (point.pool > 0) plot.curves[1].points.emplace_back(x, point.pool);
  }
  output_.try_to([&] { save_loss_plot(options_.training.plot, plot); });
}

void DistillOutput::finish(const DistillResult& result) {
  save_plot();
  const size_t skipped = photos_.skipped().size() + paintings_.skipped().size();
  if (skipped > 0) line_.message(fmt::format("{} pictures could not be read and were left out", skipped));
  if (result.cancelled) {
    const fs::path path = checkpoints_.save(result.steps, training_.state());
    line_.message(fmt::format("stopped after step {}; {} has the state: go on with the same command and --resume",
                              result.steps, path.string()));
    return;
  }
  save_student(options_.output);
  output_.log({{"event", "end"}, {"step", result.steps}, {"seconds", result.seconds}, {"skipped", skipped}});
  line_.message(
      fmt::format("saved {} after {} steps in {}", options_.output, result.steps, duration_text(result.seconds)));
}

}  // namespace minidl::apps
