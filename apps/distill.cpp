#include <minidl/apps/distill_run.h>
#include <minidl/core/tape.h>
#include <minidl/kernels/precision_scope.h>
#include <minidl/kernels/reduce.h>
#include <minidl/optim/clip.h>

#include <algorithm>
#include <chrono>
#include <cmath>

namespace minidl {
namespace {

// Steps in a row without a finite gradient, after which a run has failed.
constexpr int kMostBadSteps = 20;
// Photos, and paintings, that first weights are found with.
constexpr int64_t kStartPictures = 48;
// Points of the training curve of a long run.
constexpr int64_t kCurvePoints = 1000;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Before anything reads the other members.
DistillSettings checked(DistillSettings settings, const DistillData& data, layers::Vgg& teacher) {
  settings.check(teacher);
  MINIDL_CHECK(data.photos && data.paintings, "[distill] there is no source of photos or of paintings");
  MINIDL_CHECK(teacher.device() == Device::cpu(), "[distill] the teacher is on {}; students are trained on the CPU",
               teacher.device().str());
  return settings;
}

Tensor checked_pictures(const std::function<Tensor(int64_t)>& source, const char* what, int64_t step,
                        const DistillSettings& settings) {
  Tensor pictures = source(step);
  const Shape expected{settings.batch, settings.size, settings.size, 3};
  MINIDL_CHECK(pictures.shape() == expected, "[distill] the {} of step {} have shape {}, they must have {}", what, step,
               pictures.shape(), expected);
  return pictures;
}

}  // namespace

Distill::Impl::Impl(layers::Vgg& network, DistillSettings given, DistillData given_data, DistillWatch given_watch)
    : teacher(network),
      settings(checked(std::move(given), given_data, network)),
      data(std::move(given_data)),
      watch(given_watch),
      objective(teacher, settings),
      student(settings, teacher, objective.units(checked_pictures(data.photos, "photos", 0, settings))),
      adam(student.parameters(), {.lr = settings.lr}, student.lr_factors()),
      pool(settings),
      judge(teacher, settings, data.validation, watch.iterations),
      points_every(std::max<int64_t>(1, settings.steps / kCurvePoints)) {}

std::vector<Tensor> Distill::Impl::pictures_of_step(int64_t& from_pool) {
  const Tensor photos = checked_pictures(data.photos, "photos", step, settings);
  const Tensor paintings = checked_pictures(data.paintings, "paintings", step, settings);
  std::vector<Tensor> pictures;
  if (step >= settings.pretraining && settings.on_policy > 0) {
    student.update();
    const size_t number = pool.take_turn(step, photos, paintings, student.deployed());
    pictures.push_back(pool.picture(number));
    for (const size_t other : pool.others(step, number, static_cast<size_t>(settings.on_policy - 1)))
      pictures.push_back(pool.picture(other));
  }
  from_pool = static_cast<int64_t>(pictures.size());
  const Tensor given = given_pictures(photos, paintings, settings.seed, step);
  for (int64_t i = from_pool; i < settings.batch; ++i) pictures.push_back(given.slice(i, i + 1));
  return pictures;
}

void Distill::Impl::compute_gradient(const std::vector<Tensor>& pictures, int64_t from_pool,
                                     DistillProgress& progress) {
  adam.zero_grad();
  const auto count = static_cast<int64_t>(pictures.size());
  for (int64_t i = 0; i < count; ++i) {
    const Tensor& picture = pictures[static_cast<size_t>(i)];
    const DistillObjective::Targets targets = objective.targets(picture, student.units());
    const int64_t of_kind = i < from_pool ? from_pool : count - from_pool;
    DistillErrors errors;
    Tape tape;
    Variable loss;
    {
      const TapeScope recording(tape);
      loss = objective.loss(student, picture, targets, 1.0 / static_cast<double>(count), errors);
    }
    {
      const execution::PrecisionScope precision(settings.student_precision);
      tape.backward(loss);
    }
    progress.total += errors.total;
    const double factor = static_cast<double>(count) / static_cast<double>(of_kind);
    DistillErrors& kind = i < from_pool ? progress.pool : progress.given;
    kind.total += factor * errors.total;
    for (const auto& [tap, error] : errors.features) kind.features[tap] += factor * error;
    for (const auto& [tap, error] : errors.grams) kind.grams[tap] += factor * error;
  }
  progress.grad_norm = optim::gradient_norm(adam.parameters());
}

bool Distill::Impl::start_from_teacher() {
  std::vector<Tensor> pictures;
  for (int64_t i = 0; i < std::max<int64_t>(1, kStartPictures / settings.batch); ++i) {
    pictures.push_back(checked_pictures(data.photos, "photos", i, settings));
    pictures.push_back(checked_pictures(data.paintings, "paintings", i, settings));
  }
  std::erase_if(pictures, [](const Tensor& picture) { return !all_finite(picture); });
  return !pictures.empty() && student.start_from(teacher, pictures);
}

DistillProgress Distill::Impl::train_step() {
  DistillProgress progress;
  progress.steps = settings.steps;
  progress.lr = settings.lr_at(step);
  int64_t from_pool = 0;
  const std::vector<Tensor> pictures = pictures_of_step(from_pool);
  compute_gradient(pictures, from_pool, progress);
  if (std::isfinite(progress.total) && std::isfinite(progress.grad_norm)) {
    optim::clip_gradients(adam.parameters(), progress.grad_norm, settings.clip_norm);
    adam.set_lr(progress.lr);
    adam.step();
    bad_steps = 0;
    sum.given += progress.given.total;
    sum.pool += progress.pool.total;
    ++summed;
  } else {
    MINIDL_CHECK(++bad_steps < kMostBadSteps,
                 "[distill] the loss or its gradient was not finite in {} steps in a row, up to step {}: use a smaller "
                 "learning rate",
                 bad_steps, step + 1);
    progress.note = "the loss or its gradient is not finite: this step changed nothing";
  }
  progress.step = ++step;
  return progress;
}

void Distill::Impl::look_at_validation(DistillProgress& progress) {
  if (judge.pairs().empty() || watch.validate_every == 0) return;
  if (step % watch.validate_every != 0 && step != settings.steps) return;
  student.update();
  validations.push_back({step, judge.score(student.deployed())});
  progress.validation = validations.back().score;
}

void Distill::Impl::close_point(const DistillProgress& progress) {
  if (summed == 0 || (step % points_every != 0 && step != settings.steps)) return;
  const auto count = static_cast<double>(summed);
  history.push_back({step, sum.given / count, sum.pool / count, progress.seconds});
  sum = {};
  summed = 0;
}

DistillResult Distill::Impl::run(const Callback& callback) {
  const double started = now();
  DistillResult result;
  const auto seconds = [&] { return seconds_before + now() - started; };
  std::string note;  // of the first step
  if (step == 0 && settings.fit_teacher && !start_from_teacher())
    note = "the first weights are random: the teacher lacks layers or channels of the student";
  while (step < settings.steps && !result.cancelled) {
    DistillProgress progress = train_step();
    if (progress.note.empty()) std::swap(progress.note, note);
    look_at_validation(progress);
    progress.seconds = seconds_so_far = seconds();
    close_point(progress);
    if (callback) result.cancelled = !callback(progress);
  }
  result.steps = step;
  result.seconds = seconds_before = seconds();
  return result;
}

Distill::Distill(layers::Vgg& teacher, DistillSettings settings, DistillData data, DistillWatch watch)
    : impl_(std::make_unique<Impl>(teacher, std::move(settings), std::move(data), watch)) {}
Distill::~Distill() = default;
DistillResult Distill::run(const Callback& callback) {
  return impl_->run(callback);
}
layers::NetworkDescription Distill::student() const {
  return impl_->student.description();
}
const DistillJudge& Distill::judge() const {
  return impl_->judge;
}
std::vector<Tensor> Distill::pool_pictures(size_t count) const {
  std::vector<Tensor> pictures;
  for (size_t i = 0; i < std::min(count, impl_->pool.size()); ++i) pictures.push_back(impl_->pool.picture(i));
  return pictures;
}
SafetensorsContent Distill::state() const {
  return impl_->state();
}
void Distill::load_state(const std::filesystem::path& path) {
  impl_->load_state(path);
}
int64_t Distill::step() const {
  return impl_->step;
}
const std::vector<DistillPoint>& Distill::history() const {
  return impl_->history;
}
const std::vector<DistillValidation>& Distill::validations() const {
  return impl_->validations;
}
const DistillSettings& Distill::settings() const {
  return impl_->settings;
}
int64_t Distill::parameter_count() const {
  int64_t count = 0;
  for (const Variable& parameter : impl_->student.parameters()) count += parameter.value().count();
  return count;
}

}  // namespace minidl
