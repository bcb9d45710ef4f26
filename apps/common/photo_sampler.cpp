#include <minidl/apps/common/photo_sampler.h>
#include <minidl/core/error.h>
#include <minidl/core/rng.h>

#include <cmath>
#include <numeric>
#include <string_view>
#include <utility>

namespace minidl::apps {
namespace {

/// Streams of random numbers, one for each epoch and one for each sample, apart from those that others use with the
/// same seed.
constexpr uint64_t kOrderStreams = uint64_t{1} << 62, kSampleStreams = uint64_t{1} << 63;

/// Whether the file is to blame; everything else (memory) must not pass for a damaged photo.
bool is_fault_of_file(const Error& error) {
  const std::string_view text = error.what();
  return text.starts_with("[image]") || text.starts_with("[file]");
}

}  // namespace

int64_t PhotoSampling::shorter_side() const {
  return std::llround(static_cast<double>(size) * zoom);
}

PhotoSampler::PhotoSampler(const PhotoList& photos, const PhotoSampling& settings, PhotoCache* cache)
    : photos_(photos), settings_(settings), cache_(cache) {}

/// Fisher-Yates shuffle.
const std::vector<uint32_t>& PhotoSampler::order_of(int64_t epoch) {
  if (epoch == epoch_) return order_;
  order_.resize(photos_.names.size());
  std::iota(order_.begin(), order_.end(), 0u);
  if (settings_.shuffle) {
    Rng rng(settings_.seed, kOrderStreams + static_cast<uint64_t>(epoch));
    for (size_t left = order_.size(); left > 1; --left) std::swap(order_[left - 1], order_[rng.below(left)]);
  }
  epoch_ = epoch;
  return order_;
}

/// The file's stamp is asked for even when the photo is in the cache: a file that has vanished or changed is treated as
/// it would be without a cache.
std::optional<Photo> PhotoSampler::load(int64_t photo, std::vector<SkippedPhoto>& skipped) const {
  const std::filesystem::path path = photos_.path(photo);
  const std::optional<PhotoStamp> stamp = cache_ ? stamp_of(path) : std::nullopt;
  if (stamp) {
    if (std::optional<Photo> found = cache_->find(photo, *stamp)) return found;
  }
  try {
    Photo decoded = read_photo(path, settings_.shorter_side());
    if (stamp) cache_->store(photo, *stamp, decoded);
    return decoded;
  } catch (const Error& error) {
    if (!is_fault_of_file(error)) throw;
    skipped.push_back({path, error.what()});
    return {};
  }
}

void PhotoSampler::sample(int64_t index, float* output, std::vector<SkippedPhoto>& skipped,
                          const std::atomic<bool>& stopped) {
  const int64_t count = photos_.count();
  const std::vector<uint32_t>& order = order_of(index / count);
  for (int64_t step = 0; step < count; ++step) {
    MINIDL_CHECK(!stopped, "[photos] stopped");
    const std::optional<Photo> photo = load(order[static_cast<size_t>((index + step) % count)], skipped);
    if (!photo) continue;
    const CutOptions options{.size = settings_.size, .random = settings_.random_crop, .flip = settings_.flip};
    return cut_sample(*photo, options, Rng(settings_.seed, kSampleStreams + static_cast<uint64_t>(index)), output);
  }
  fail("[photos] none of the {} photos in '{}' can be read; one of them: {}", count, photos_.folder.string(),
       skipped.back().reason);
}

}  // namespace minidl::apps
