#include <fmt/format.h>
#include <minidl/apps/distill_pool.h>
#include <minidl/apps/gatys_stepper.h>
#include <minidl/apps/saved_run.h>
#include <minidl/core/rng.h>
#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/precision_scope.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

namespace minidl {
namespace {

/// Streams of random numbers, one for each step and purpose, apart from those of others with the same seed.
constexpr uint64_t kMemberStreams = uint64_t{1} << 40, kOtherStreams = uint64_t{1} << 41,
                   kGivenStreams = uint64_t{1} << 42, kNoiseStreams = uint64_t{1} << 43;

// A picture starts as its photo, as a blend with its style, or as the photo in noise.
constexpr float kStartsAsPhoto = 0.7f, kStartsAsBlend = 0.15f;
constexpr float kStartNoise = 40.0f;
constexpr double kBetaSpread = 4.0;

constexpr float kPaintings = 0.3f, kPhotos = 0.45f;  // the rest are blends
constexpr float kNoisy = 0.25f, kContrasts = 0.1f;
constexpr std::array<float, 4> kNoises = {4.0f, 10.0f, 25.0f, 50.0f};
constexpr float kLeastContrast = 0.5f, kMostContrast = 1.6f, kMiddle = 128.0f;

Tensor row(const Tensor& pictures, int64_t index) {
  return pictures.slice(index, index + 1).clone();
}

void add_noise(Tensor& picture, float sigma, uint64_t seed, uint64_t stream) {
  Tensor noise = Tensor::empty(picture.shape());
  Rng rng(seed, stream);
  rng.fill_normal(noise, 0.0f, sigma);
  add_scaled(1.0f, picture, 1.0f, noise, picture);
}

GatysSettings transfer_settings(const DistillSettings& settings, double beta) {
  GatysSettings transfer;
  transfer.content_layers = settings.content_layers;
  transfer.style_layers = settings.style_layers;
  transfer.alpha = settings.alpha;
  transfer.beta = beta;
  transfer.tv = settings.tv;
  transfer.history = static_cast<int>(settings.pool_iterations);
  return transfer;
}

}  // namespace

DistillPool::DistillPool(const DistillSettings& settings) : settings_(settings) {}

DistillPool::Member DistillPool::make(int64_t step, const Tensor& photos, const Tensor& paintings) const {
  Rng rng(settings_.seed, kMemberStreams + static_cast<uint64_t>(step));
  Member member;
  member.content = row(photos, 0);
  const bool is_photo = rng.uniform() < static_cast<float>(settings_.photo_styles) && photos.shape()[0] > 1;
  member.style = is_photo ? row(photos, 1) : row(paintings, 0);
  member.picture = member.content.clone();
  const float start = rng.uniform(), share = rng.uniform();
  if (start >= kStartsAsPhoto + kStartsAsBlend) {
    add_noise(member.picture, kStartNoise, settings_.seed, kNoiseStreams + static_cast<uint64_t>(step));
  } else if (start >= kStartsAsPhoto) {
    add_scaled(share, member.content, 1.0f - share, member.style, member.picture);
  }
  member.beta = settings_.beta * std::pow(kBetaSpread, 2.0 * static_cast<double>(rng.uniform()) - 1.0);
  member.turns_left = 1 + static_cast<int64_t>(rng.below(static_cast<uint64_t>(settings_.pool_turns)));
  return member;
}

size_t DistillPool::take_turn(int64_t step, const Tensor& photos, const Tensor& paintings, layers::Vgg& student) {
  const auto full = static_cast<size_t>(settings_.pool);
  const size_t number = members_.size() < full ? members_.size() : static_cast<size_t>(turns_) % full;
  if (number == members_.size()) members_.emplace_back();
  Member& member = members_[number];
  if (member.turns_left == 0) member = make(step, photos, paintings);
  const execution::PrecisionScope precision(settings_.student_precision);
  const GatysSettings transfer = transfer_settings(settings_, member.beta);
  GatysObjective objective(student, transfer, member.content, {{member.style, 1.0}});
  const std::unique_ptr<GatysStepper> stepper = GatysStepper::make(transfer, objective, member.picture);
  for (int64_t i = 0; i < settings_.pool_iterations; ++i) {
    if (stepper->step().converged) break;
  }
  --member.turns_left;
  ++turns_;
  return number;
}

std::vector<size_t> DistillPool::others(int64_t step, size_t number, size_t count) const {
  std::vector<size_t> numbers(members_.size());
  std::iota(numbers.begin(), numbers.end(), size_t{0});
  numbers.erase(numbers.begin() + static_cast<std::ptrdiff_t>(number));
  count = std::min(count, numbers.size());
  Rng rng(settings_.seed, kOtherStreams + static_cast<uint64_t>(step));
  for (size_t i = 0; i < count; ++i) std::swap(numbers[i], numbers[i + rng.below(numbers.size() - i)]);
  numbers.resize(count);
  return numbers;
}

void DistillPool::save(SafetensorsContent& content) const {
  std::vector<double> numbers{static_cast<double>(turns_)};
  for (size_t i = 0; i < members_.size(); ++i) {
    const Member& member = members_[i];
    numbers.insert(numbers.end(), {member.beta, static_cast<double>(member.turns_left)});
    content.tensors.emplace_back(fmt::format("pool.{}.content", i), member.content);
    content.tensors.emplace_back(fmt::format("pool.{}.style", i), member.style);
    content.tensors.emplace_back(fmt::format("pool.{}.picture", i), member.picture.clone());
  }
  content.tensors.emplace_back("pool", tensor_of(numbers));
}

void DistillPool::load(const SafetensorsReader& reader) {
  const std::vector<double> numbers = numbers_of(reader, "pool");
  const std::string file = reader.path().string();
  MINIDL_CHECK(numbers.size() % 2 == 1 && numbers.size() / 2 <= static_cast<size_t>(settings_.pool) && numbers[0] >= 0,
               "[resume] '{}' is damaged: its pool makes no sense", file);
  const Shape shape{1, settings_.size, settings_.size, 3};
  std::vector<Member> members;
  for (size_t i = 0; i < numbers.size() / 2; ++i) {
    const auto read = [&](const char* what) {
      Tensor tensor = reader.read(fmt::format("pool.{}.{}", i, what));
      MINIDL_CHECK(tensor.shape() == shape && tensor.dtype() == Dtype::f32,
                   "[resume] '{}' is damaged: the {} of picture {} of its pool has shape {}, it must be {}", file, what,
                   i, tensor.shape(), shape);
      return tensor;
    };
    members.push_back({read("content"), read("style"), read("picture"), numbers[1 + 2 * i],
                       static_cast<int64_t>(numbers[2 + 2 * i])});
  }
  members_ = std::move(members);
  turns_ = static_cast<int64_t>(numbers[0]);
}

Tensor given_pictures(const Tensor& photos, const Tensor& paintings, uint64_t seed, int64_t step) {
  Tensor pictures = photos.clone();
  for (int64_t i = 0; i < photos.shape()[0]; ++i) {
    const uint64_t number = static_cast<uint64_t>(step * photos.shape()[0] + i);
    Rng rng(seed, kGivenStreams + number);
    Tensor picture = pictures.slice(i, i + 1);
    const Tensor painting = paintings.slice(i, i + 1);
    const float kind = rng.uniform(), share = rng.uniform();
    if (kind < kPaintings) {
      picture.copy_from(painting);
    } else if (kind >= kPaintings + kPhotos) {
      add_scaled(share, picture, 1.0f - share, painting, picture);
    }
    if (rng.uniform() < kNoisy)
      add_noise(picture, kNoises[rng.below(kNoises.size())], seed, kNoiseStreams + kGivenStreams + number);
    if (rng.uniform() < kContrasts) {
      const float contrast = kLeastContrast + (kMostContrast - kLeastContrast) * rng.uniform();
      affine(contrast, picture, (1.0f - contrast) * kMiddle, picture);
    }
  }
  return pictures;
}

}  // namespace minidl
