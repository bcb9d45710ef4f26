#include <minidl/apps/gatys_run.h>

#include <algorithm>
#include <chrono>
#include <cmath>

namespace minidl {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

Gatys::Gatys(layers::Vgg& network, GatysSettings settings, GatysPictures pictures)
    : impl_(std::make_unique<Impl>(network, std::move(settings), std::move(pictures))) {}
Gatys::~Gatys() = default;

GatysResult Gatys::run(const Callback& callback) {
  return impl_->run(callback);
}
SafetensorsContent Gatys::state() const {
  return impl_->state();
}
void Gatys::load_state(const std::filesystem::path& path) {
  impl_->load_state(path);
}
std::vector<Extent> Gatys::scale_sizes() const {
  return impl_->sizes;
}
Extent Gatys::style_size(const Tensor& style, int scale) const {
  return impl_->style_size(style, scale);
}

GatysLosses Gatys::evaluate_start(Tensor* gradient) {
  Impl& run = *impl_;
  MINIDL_CHECK(run.scale < 0, "[gatys] the run has begun: its starting picture is no longer there to be evaluated");
  const int last = static_cast<int>(run.sizes.size()) - 1;
  run.open_scale(last);
  GatysLosses losses = run.objective->evaluate(run.picture, gradient);
  run.close_scale();
  return losses;
}

Gatys::Impl::Impl(layers::Vgg& vgg, GatysSettings given, GatysPictures given_pictures)
    : network(vgg), settings(std::move(given)), pictures(std::move(given_pictures)) {
  network.freeze();
  settings.check(network);
  if (settings.pooling && !network.description().is_student()) network.set_pooling(*settings.pooling);
  MINIDL_CHECK(pictures.content && !pictures.styles.empty(),
               "[gatys] a content picture and at least one style picture are needed");
  MINIDL_CHECK(settings.init != GatysInit::picture || pictures.init, "[gatys] the starting picture is missing");
  const Shape& shape = pictures.content.shape();
  MINIDL_CHECK(shape.rank() == 4 && shape[3] == 3,
               "[gatys] the content picture has shape {}, it must be [1, height, width, 3]", shape);
  for (GatysObjective::Style& style : pictures.styles)
    style.picture = match_colors(style.picture, pictures.content, settings.match_colors);
  std::vector<Tensor> seen = {pictures.content};
  for (const GatysObjective::Style& style : pictures.styles) seen.push_back(style.picture);
  normalize_for_fp16(network, seen, settings.taps());
  choose_sizes();
}

void Gatys::Impl::choose_sizes() {
  constexpr int64_t kLeastCoarseSide = 64;  // below it a picture has too little to be laid out
  const Shape& shape = pictures.content.shape();
  const Extent full = fit_longer_side(shape[1], shape[2], settings.size);
  int64_t least = kLeastCoarseSide;
  for (const std::string& tap : settings.taps()) least = std::max(least, network.smallest_side(tap));
  for (int step = settings.scales - 1; step >= 0; --step) {
    shrink.push_back(std::pow(2.0, -0.5 * step));
    const auto longer =
        static_cast<int64_t>(std::lround(shrink.back() * static_cast<double>(std::max(full.height, full.width))));
    sizes.push_back(step == 0 ? full : fit_longer_side(full.height, full.width, std::max<int64_t>(1, longer)));
    int64_t shortest = std::min(sizes.back().height, sizes.back().width);
    for (const GatysObjective::Style& style : pictures.styles) {
      const Extent extent = style_size(style.picture, static_cast<int>(sizes.size()) - 1);
      shortest = std::min({shortest, extent.height, extent.width});
    }
    if (step > 0 && shortest < least) {
      sizes.pop_back();
      shrink.pop_back();
    }
  }
}

Extent Gatys::Impl::style_size(const Tensor& style, int index) const {
  const int64_t h = style.shape()[1], w = style.shape()[2];
  const Extent content = sizes[static_cast<size_t>(index)];
  const bool resized = settings.size > 0;
  const double longer = resized ? static_cast<double>(std::max(content.height, content.width))
                                : static_cast<double>(std::max(h, w)) * shrink[static_cast<size_t>(index)];
  return fit_longer_side(h, w, std::max<int64_t>(1, std::llround(longer * settings.style_scale)));
}

/// A copy of a picture on the host, where the network computes.
Tensor Gatys::Impl::resized_for_run(const Tensor& x, Extent size) const {
  const Tensor resized = resize_image(x, size.height, size.width);
  const Device device = network.device();
  return device == Device::cpu() ? resized.clone() : resized.to(device);
}

Tensor Gatys::Impl::start_picture(Extent size) const {
  const auto resized = [&](const Tensor& x) { return resized_for_run(x, size); };
  switch (settings.init) {
    case GatysInit::content:
      return resized(pictures.content);
    case GatysInit::style:
      return resized(pictures.styles.front().picture);
    case GatysInit::picture:
      return resized(pictures.init);
    case GatysInit::noise:
      break;
  }
  Tensor noise = Tensor::empty({1, size.height, size.width, 3});
  Rng rng(settings.seed);
  rng.fill_normal(noise, 0.0f, static_cast<float>(settings.noise_sigma));
  const std::array<float, 3>& mean = network.description().mean;
  add_per_channel(1.0f, noise, Tensor::from(mean, {3}), noise);
  return noise.to(network.device());
}

void Gatys::Impl::open_scale(int index) {
  scale = index;
  last_step.reset();
  const optim::State moments = stepper ? stepper->moments() : optim::State();
  stepper.reset();
  objective.reset();
  allocator(network.device()).release_cached();  // blocks of the coarser scale's sizes
  const Extent size = sizes[static_cast<size_t>(index)];
  picture = picture ? resized_for_run(picture.to(Device::cpu()), size) : start_picture(size);
  std::vector<GatysObjective::Style> styles;
  for (const GatysObjective::Style& style : pictures.styles) {
    const Extent extent = style_size(style.picture, index);
    styles.push_back({resize_image(style.picture, extent.height, extent.width), style.weight});
  }
  const Tensor content = resize_image(pictures.content, size.height, size.width);
  objective = std::make_unique<GatysObjective>(network, settings, content, styles);
  if (settings.normalize_gradients) objective->normalize_at(picture);
  stepper = GatysStepper::make(settings, *objective, picture);
  stepper->carry_over(moments);
}

void Gatys::Impl::close_scale() {
  last_step.reset();
  stepper.reset();
  objective.reset();
  picture = Tensor();
  scale = -1;
  iteration = evaluations = 0;
  seconds_before = 0;
  history.clear();
}

Tensor Gatys::Impl::finished_picture() const {
  const Extent size = sizes.back();
  const Tensor host = picture.to(Device::cpu());
  Tensor result = resize_image(host, size.height, size.width);
  if (settings.original_colors)
    result = keep_luminance(result, resize_image(pictures.content, size.height, size.width));
  return result.shares_storage_with(picture) ? result.clone() : result;
}

double Gatys::Impl::work_done() const {
  double done = 0, all = 0;
  for (size_t i = 0; i < sizes.size(); ++i) {
    const double pixels = static_cast<double>(sizes[i].height * sizes[i].width);
    const int index = static_cast<int>(i);
    all += pixels * settings.iterations;
    done += pixels * (index < scale ? settings.iterations : index == scale ? iteration : 0);
  }
  return all > 0 ? done / all : 1.0;
}

void Gatys::Impl::take(const GatysStepper::Step& step, double started) {
  evaluations += step.evaluations;
  const GatysLosses& losses = step.losses;
  history.push_back({.iteration = scale * settings.iterations + iteration,
                     .evaluations = evaluations,
                     .total = losses.total,
                     .content = losses.content,
                     .style = losses.style,
                     .tv = losses.tv_term,
                     .seconds = seconds_before + now() - started});
}

GatysResult Gatys::Impl::run(const Callback& callback) {
  const double started = now();
  GatysResult result;
  const int scales = static_cast<int>(sizes.size());
  // Without iterations there is nothing to do at the coarse scales, and the given picture must not be resized there.
  if (scale < 0) open_scale(settings.iterations > 0 ? 0 : scales - 1);
  while (true) {
    while (iteration < settings.iterations && !result.cancelled) {
      const GatysStepper::Step& step = last_step.emplace(stepper->step());
      iteration = step.converged ? settings.iterations : iteration + 1;
      take(step, started);
      if (!callback) continue;
      const Extent size = sizes[static_cast<size_t>(scale)];
      result.cancelled = !callback({.scale = scale,
                                    .scales = scales,
                                    .height = size.height,
                                    .width = size.width,
                                    .iteration = history.back().iteration,
                                    .iterations = scales * settings.iterations,
                                    .work_done = work_done(),
                                    .losses = step.losses,
                                    .grad_norm = step.grad_norm,
                                    .point = history.back(),
                                    .note = step.note,
                                    .picture = [this] { return finished_picture(); }});
    }
    if (result.cancelled || scale + 1 >= scales) break;
    open_scale(scale + 1);
    iteration = 0;
  }
  if (last_step) {
    result.losses = last_step->losses;
    result.grad_norm = last_step->grad_norm;
  } else {
    Tensor gradient;
    result.losses = objective->evaluate(picture, &gradient);
    result.grad_norm = std::sqrt(squared_norm(gradient));
  }
  result.picture = finished_picture();
  result.history = history;
  result.iterations = static_cast<int>(history.size());
  seconds_before += now() - started;
  result.seconds = seconds_before;
  return result;
}

}  // namespace minidl
