#include <minidl/apps/fast_style_run.h>
#include <minidl/core/tape.h>
#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/precision_scope.h>
#include <minidl/kernels/reduce.h>
#include <minidl/layers/init.h>
#include <minidl/optim/clip.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

namespace minidl {
namespace {

// Steps in a row without a finite gradient, after which a run has failed.
constexpr int kMostBadSteps = 20;
// Of the first pictures of a linear output: factor of the last filters and what is added to their bias. At 128 pixels
// the style's loss fell in 60 steps as far as without them in 240.
constexpr float kFirstContrast = 64.0f, kFirstLevel = 120.0f;
// Points of the training curve of a long run.
constexpr int64_t kCurvePoints = 1000;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// PyTorch's initial values make pictures that are nearly black, and hundreds of steps pass until they are bright: a
/// linear output begins in medium grey instead, with visible contrast.
layers::TransformNet make_net(const FastStyleSettings& settings) {
  layers::seed(settings.seed);
  layers::TransformNet net(settings.net);
  if (settings.net.output_range == layers::OutputRange::linear) {
    for (auto [name, parameter] : net.named_parameters()) {
      Tensor& value = parameter.mutable_value();
      if (name == "deconv3.conv2d.weight") affine(kFirstContrast, value, 0.0f, value);
      if (name == "deconv3.conv2d.bias") affine(1.0f, value, kFirstLevel, value);
    }
  }
  return net;
}

FastStyleSettings with_styles(FastStyleSettings settings, const FastStyleData& data) {
  settings.net.styles = static_cast<int64_t>(data.styles.size());
  return settings;
}

/// As the objective takes it. It is normalised by the paintings alone: those a resumed run has, too.
layers::Vgg& prepared(layers::Vgg& network, const FastStyleSettings& settings, const std::vector<Tensor>& styles) {
  network.freeze();
  settings.check(network);
  normalize_for_fp16(network, styles, settings.taps());
  return network;
}

std::string name_of_bad_term(const FastStyleLosses& losses) {
  for (const auto& [name, value] : losses.content_layers) {
    if (!std::isfinite(value)) return "content " + name;
  }
  for (const auto& [name, value] : losses.style_layers) {
    if (!std::isfinite(value)) return "style " + name;
  }
  return std::isfinite(losses.tv) ? "gradient" : "tv";
}

}  // namespace

FastStyle::Impl::Impl(layers::Vgg& vgg, FastStyleSettings given, FastStyleData given_data, FastStyleWatch given_watch)
    : network(vgg),
      settings(with_styles(std::move(given), given_data)),
      data(std::move(given_data)),
      watch(given_watch),
      objective(prepared(vgg, settings, data.styles), settings, data.styles),
      net(make_net(settings)),
      adam(net.to(network.device()).parameters(), {.lr = settings.lr, .weight_decay = settings.weight_decay}),
      points_every(std::max<int64_t>(1, settings.steps / kCurvePoints)) {
  MINIDL_CHECK(data.photos != nullptr, "[fast_style] there is no source of photos");
  MINIDL_CHECK(watch.patience == 0 || (watch.validate_every > 0 && !data.validation.empty()),
               "[fast_style] ending on a plateau needs validation photos and a number of steps between validations");
}

int FastStyle::Impl::style_at(int64_t index) const {
  return static_cast<int>(index % static_cast<int64_t>(data.styles.size()));
}

double FastStyle::Impl::compute_gradient(FastStyleLosses& losses) {
  const Tensor photos = data.photos(step);
  const Shape expected{settings.batch, settings.size, settings.size, 3};
  MINIDL_CHECK(photos.shape() == expected, "[fast_style] the photos of step {} have shape {}, they must have {}", step,
               photos.shape(), expected);
  const int style = style_at(step);
  if (loss_scale.is_missing()) choose_loss_scale(photos.to(network.device()));
  // A recording has memory of its own: not one for each of many styles.
  const bool is_repeated = network.device().kind == Device::Kind::cuda && data.styles.size() == 1;
  const Computed computed = is_repeated ? repeat(photos) : compute(photos.to(network.device()), style);
  losses = FastStyleObjective::losses_of(computed.terms);
  return std::sqrt(computed.squared_norm.data<double>()[0]);
}

void FastStyle::Impl::choose_loss_scale(const Tensor& photos) {
  const execution::PrecisionScope exact(Precision::fp32);
  const std::vector<Tensor> before = buffers();
  const FastStyleTargets targets = objective.targets(photos);
  net.train(true);
  float largest = 0;
  for (size_t style = 0; style < data.styles.size(); ++style) {
    net.select_style(static_cast<int>(style));
    const Variable picture(net(Variable(photos.slice(0, settings.at_once()))).value(), true);
    std::vector<FastStyleTerm> terms;
    Tape tape;
    Variable loss;
    {
      const TapeScope recording(tape);
      loss = objective.loss(picture, targets, 0, static_cast<int>(style), terms);
    }
    tape.backward(loss);
    largest = std::max(largest, max_abs(picture.grad()));
  }
  set_buffers(before);
  loss_scale.choose(largest);
  repeated.reset();
}

std::vector<Tensor> FastStyle::Impl::buffers() const {
  std::vector<Tensor> values;
  for (const auto& [name, buffer] : net.named_buffers()) values.push_back(buffer.clone());
  return values;
}

void FastStyle::Impl::set_buffers(const std::vector<Tensor>& values) {
  const auto buffers = net.named_buffers();
  for (size_t i = 0; i < buffers.size(); ++i) Tensor(buffers[i].second).copy_from(values[i]);
}

FastStyle::Impl::Computed FastStyle::Impl::compute(const Tensor& photos, int style) {
  adam.zero_grad();
  net.train(true);
  net.select_style(style);
  Computed computed;
  const FastStyleTargets targets = objective.targets(photos);
  const int64_t at_once = settings.at_once();
  for (int64_t begin = 0; begin < settings.batch; begin += at_once) {
    const int64_t end = std::min(settings.batch, begin + at_once);
    Tape tape;
    Variable loss;
    {
      const TapeScope recording(tape);
      loss = objective.loss(net(Variable(photos.slice(begin, end))), targets, begin, style, computed.terms,
                            loss_scale.get());
    }
    tape.backward(loss, loss_scale.get());
  }
  std::vector<Tensor> written;
  for (const Variable& parameter : adam.parameters()) {
    Tensor& grad = computed.grads.emplace_back(parameter.grad());
    if (!grad) continue;
    loss_scale.take_out(grad);
    written.push_back(grad);
  }
  computed.squared_norm = squared_norm_number(written).scaled(1.0, 1.0f, Dtype::f64);
  return computed;
}

/// They change when the net is given values in other tensors.
std::vector<const void*> FastStyle::Impl::addresses() const {
  std::vector<const void*> all;
  for (const auto& [name, parameter] : net.named_parameters()) all.push_back(parameter.value().raw());
  for (const auto& [name, buffer] : net.named_buffers()) all.push_back(std::as_const(buffer).raw());
  return all;
}

const FastStyle::Impl::Computed& FastStyle::Impl::repeat(const Tensor& photos) {
  const std::string settings_now = execution::fingerprint();
  const std::vector<const void*> addresses_now = addresses();
  if (!repeated || repeated->settings != settings_now || repeated->addresses != addresses_now) {
    repeated.reset();
    const Device device = network.device();
    repeated.emplace(Repeated{cuda::Recording(device.index),
                              settings_now,
                              addresses_now,
                              Tensor::empty(photos.shape(), Dtype::f32, device),
                              {}});
  }
  repeated->photos.copy_from(photos);
  Computed& computed = repeated->computed;
  repeated->recording.run([&] {
    computed = {};  // so that the second step finds the memory as the first did
    computed = compute(repeated->photos, 0);
  });
  for (size_t i = 0; i < computed.grads.size(); ++i) {
    Variable parameter = adam.parameters()[i];
    parameter.mutable_grad() = computed.grads[i];
  }
  return computed;
}

void FastStyle::Impl::update(double grad_norm) {
  optim::clip_gradients(adam.parameters(), grad_norm, settings.clip_norm);
  adam.set_lr(settings.lr_at(step));
  adam.step();
}

FastStyleProgress FastStyle::Impl::train_step() {
  FastStyleProgress progress;
  progress.steps = settings.steps;
  progress.lr = settings.lr_at(step);
  // Batch norm's averages must not keep what a step that is left out did to them.
  const std::vector<Tensor> before = buffers();
  progress.grad_norm = compute_gradient(progress.losses);
  if (std::isfinite(progress.losses.total) && std::isfinite(progress.grad_norm)) {
    update(progress.grad_norm);
    bad_steps = 0;
    const FastStyleLosses& losses = progress.losses;
    sum.total += losses.total;
    sum.content += losses.content;
    sum.style += losses.style;
    sum.tv += losses.tv;
    ++summed;
  } else {
    const std::string term = name_of_bad_term(progress.losses);
    MINIDL_CHECK(++bad_steps < kMostBadSteps,
                 "[fast_style] {} was not finite in {} steps in a row, up to step {}: use a smaller learning rate or "
                 "clip the gradient",
                 term, bad_steps, step + 1);
    progress.note = term + " is not finite: this step changed nothing";
    set_buffers(before);
  }
  progress.step = ++step;
  return progress;
}

FastStyleLosses FastStyle::Impl::evaluate(const Tensor& photo, int style) {
  std::vector<FastStyleTerm> terms;
  const Tensor input = photo.to(network.device());
  objective.loss(Variable(apply(input, style)), objective.targets(input), 0, style, terms);
  return FastStyleObjective::losses_of(terms);
}

Tensor FastStyle::Impl::apply(const Tensor& photo, int style) {
  net.train(false);
  net.select_style(style);
  const Tensor picture = net(Variable(photo.to(network.device()))).value();
  net.train(true);
  return picture.to(photo.device());
}

double FastStyle::Impl::validate() {
  double total = 0;
  for (const Tensor& photo : data.validation) {
    for (size_t style = 0; style < data.styles.size(); ++style) {
      total += evaluate(photo, static_cast<int>(style)).total;
    }
  }
  return total / static_cast<double>(data.validation.size() * data.styles.size());
}

void FastStyle::Impl::look_at_validation(FastStyleProgress& progress) {
  if (data.validation.empty() || watch.validate_every == 0 || step % watch.validate_every != 0) return;
  const double total = validate();
  progress.validation = total;
  if (validations.empty() || total < best_total) {
    best_total = total;
    without_best = 0;
    if (watch.patience > 0) best = net.state();
  } else {
    ++without_best;
  }
  validations.push_back({step, total});
}

void FastStyle::Impl::close_point(double seconds) {
  if (summed == 0 || (step % points_every != 0 && step != settings.steps)) return;
  const auto mean = [&](double value) { return value / static_cast<double>(summed); };
  history.push_back({step, mean(sum.total), mean(sum.content), mean(sum.style), mean(sum.tv), seconds});
  sum = {};
  summed = 0;
}

FastStyleResult FastStyle::Impl::run(const Callback& callback) {
  const double started = now();
  FastStyleResult result;
  const auto seconds = [&] { return seconds_before + now() - started; };
  const auto gave_up = [&] { return watch.patience > 0 && without_best >= watch.patience; };
  while (step < settings.steps && !gave_up() && !result.cancelled) {
    FastStyleProgress progress = train_step();
    look_at_validation(progress);
    progress.seconds = seconds_so_far = seconds();
    close_point(progress.seconds);
    if (callback) result.cancelled = !callback(progress);
  }
  result.plateau = gave_up();
  if (result.plateau) net.load_state(best);
  result.steps = step;
  result.seconds = seconds_before = seconds();
  return result;
}

FastStyle::FastStyle(layers::Vgg& network, FastStyleSettings settings, FastStyleData data, FastStyleWatch watch) {
  MINIDL_CHECK(!data.styles.empty(), "[fast_style] there is no style picture");
  impl_ = std::make_unique<Impl>(network, std::move(settings), std::move(data), watch);
}
FastStyle::~FastStyle() = default;
FastStyleResult FastStyle::run(const Callback& callback) {
  return impl_->run(callback);
}
layers::TransformNet& FastStyle::net() {
  return impl_->net;
}
Tensor FastStyle::apply(const Tensor& photo, int style) {
  return impl_->apply(photo, style);
}
FastStyleLosses FastStyle::evaluate(const Tensor& photo, int style) {
  return impl_->evaluate(photo, style);
}
SafetensorsContent FastStyle::state() const {
  return impl_->state();
}
void FastStyle::load_state(const std::filesystem::path& path) {
  impl_->load_state(path);
}
int64_t FastStyle::step() const {
  return impl_->step;
}
const std::vector<FastStylePoint>& FastStyle::history() const {
  return impl_->history;
}
const std::vector<FastStyleValidation>& FastStyle::validations() const {
  return impl_->validations;
}
const FastStyleSettings& FastStyle::settings() const {
  return impl_->settings;
}

}  // namespace minidl
