#include <fmt/format.h>
#include <minidl/apps/common/photo_batches.h>
#include <minidl/core/error.h>
#include <minidl/core/parallel.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

namespace minidl::apps {
namespace {

void check(const PhotoList& photos, const PhotoBatchesOptions& options) {
  const auto in_range = [](const char* name, double value, double low, double high) {
    MINIDL_CHECK(value >= low && value <= high, "[photos] {} is {}, it must be in {} to {}", name, value, low, high);
  };
  in_range("batch", static_cast<double>(options.batch), 1, 4096);
  in_range("size", static_cast<double>(options.sampling.size), 1, 4096);
  in_range("zoom", options.sampling.zoom, 1, 8);
  in_range("threads", options.threads, 1, 64);
  in_range("ahead", options.ahead, 1, 1024);
  MINIDL_CHECK(photos.count() > 0, "[photos] the list of photos of '{}' is empty", photos.folder.string());
}

/// A batch in the making.
struct Batch {
  Tensor samples;
  float* data;
  int64_t missing;  // samples that are not there yet
  std::vector<SkippedPhoto> skipped;
  std::string error{};  // empty: none
  bool failed() const { return !error.empty(); }
};

}  // namespace

PhotoSampling validation_sampling(int64_t size) {
  return {.size = size, .shuffle = false, .random_crop = false, .flip = false};
}

struct PhotoBatches::Impl {
  const PhotoList photos;
  const PhotoBatchesOptions options;
  std::optional<PhotoCache> cache;

  mutable std::mutex mutex;                // of all below
  std::condition_variable wake, progress;  // for the readers; for who waits for them
  std::deque<Batch> batches;               // number `position` and those after it
  int64_t position = 0;
  int64_t next_sample = 0;  // the next one that a reader takes
  int busy = 0;             // readers at work on a sample
  bool paused = false;
  std::atomic<bool> stopped{false};
  std::map<std::filesystem::path, std::string> skipped;
  std::vector<std::thread> readers;

  Impl(PhotoList list, const PhotoBatchesOptions& settings) : photos(std::move(list)), options(settings) {
    check(photos, options);
    for (const SkippedPhoto& place : photos.unreadable) skipped.emplace(place.file, place.reason);
    if (!options.cache.empty()) cache.emplace(options.cache, photos, options.sampling.shorter_side());
    try {
      for (int i = 0; i < options.threads; ++i) readers.emplace_back([this] { read(); });
    } catch (const std::exception& error) {
      stop();
      fail("[photos] the system gave only {} of {} threads ({}); ask for fewer", readers.size(), options.threads,
           error.what());
    }
  }
  ~Impl() { stop(); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void stop() {
    {
      const std::scoped_lock lock(mutex);
      stopped = true;
    }
    wake.notify_all();
    for (std::thread& reader : readers) reader.join();
  }

  bool has_work() const {
    const bool failed = !batches.empty() && batches.front().failed();
    return !paused && !failed && next_sample < (position + options.ahead) * options.batch;
  }

  void read() {
    const SerialScope serial;  // the pool belongs to the training
    PhotoSampler sampler(photos, options.sampling, cache ? &*cache : nullptr);
    std::unique_lock lock(mutex);
    while (true) {
      wake.wait(lock, [&] { return stopped || has_work(); });
      if (stopped) return;
      ++busy;
      read_one(sampler, next_sample++, lock);
      --busy;
      progress.notify_all();
    }
  }

  /// Called with the lock, which is given back while the photo is read.
  void read_one(PhotoSampler& sampler, int64_t index, std::unique_lock<std::mutex>& lock) {
    const auto place = static_cast<size_t>(index / options.batch - position);
    while (batches.size() <= place) batches.push_back({{}, nullptr, options.batch, {}});
    Batch& batch = batches[place];  // stays there: a deque's ends may change
    std::vector<SkippedPhoto> unreadable;
    std::string error;
    try {
      if (!batch.samples) open(batch);
      float* output = batch.data + index % options.batch * sample_values();
      lock.unlock();
      sampler.sample(index, output, unreadable, stopped);
    } catch (const std::exception& exception) {
      error = exception.what();
    }
    if (!lock.owns_lock()) lock.lock();
    batch.skipped.insert(batch.skipped.end(), unreadable.begin(), unreadable.end());
    if (!batch.failed()) batch.error = std::move(error);
    --batch.missing;
  }

  int64_t sample_values() const { return options.sampling.size * options.sampling.size * 3; }
  void open(Batch& batch) const {
    batch.samples = Tensor::empty({options.batch, options.sampling.size, options.sampling.size, 3});
    batch.data = batch.samples.data<float>();
  }
};

PhotoBatches::PhotoBatches(PhotoList photos, const PhotoBatchesOptions& options)
    : impl_(std::make_unique<Impl>(std::move(photos), options)) {}
PhotoBatches::~PhotoBatches() = default;

Tensor PhotoBatches::next() {
  std::unique_lock lock(impl_->mutex);
  impl_->progress.wait(lock, [&] {
    return !impl_->batches.empty() && (impl_->batches.front().missing == 0 || impl_->batches.front().failed());
  });
  Batch& batch = impl_->batches.front();
  for (const SkippedPhoto& photo : batch.skipped) impl_->skipped.emplace(photo.file, photo.reason);
  if (batch.failed()) throw Error(batch.error);
  Tensor samples = std::move(batch.samples);
  impl_->batches.pop_front();
  ++impl_->position;
  lock.unlock();
  impl_->wake.notify_all();
  return samples;
}

Tensor PhotoBatches::at(int64_t number) {
  if (position() != number) seek(number);
  return next();
}

void PhotoBatches::seek(int64_t position) {
  MINIDL_CHECK(position >= 0, "[photos] there is no batch number {}", position);
  std::unique_lock lock(impl_->mutex);
  impl_->paused = true;
  impl_->progress.wait(lock, [&] { return impl_->busy == 0; });
  impl_->batches.clear();
  impl_->position = position;
  impl_->next_sample = position * impl_->options.batch;
  impl_->paused = false;
  lock.unlock();
  impl_->wake.notify_all();
}

int64_t PhotoBatches::position() const {
  const std::scoped_lock lock(impl_->mutex);
  return impl_->position;
}

int64_t PhotoBatches::epoch() const {
  return position() * impl_->options.batch / impl_->photos.count();
}

std::vector<SkippedPhoto> PhotoBatches::skipped() const {
  const std::scoped_lock lock(impl_->mutex);
  std::vector<SkippedPhoto> list;
  for (const auto& [file, reason] : impl_->skipped) list.push_back({file, reason});
  return list;
}

std::string PhotoBatches::cache_problem() const {
  return impl_->cache ? impl_->cache->problem() : std::string();
}

std::string PhotoBatches::fingerprint(std::string_view prefix) const {
  const PhotoSampling& sampling = impl_->options.sampling;
  return fmt::format(
      "{0}photos {1} {0}batch {2} {0}size {3} {0}zoom {4} {0}shuffle {5} {0}random_crop {6} {0}flip {7} {0}seed {8}",
      prefix, impl_->photos.fingerprint(), impl_->options.batch, sampling.size, sampling.zoom, sampling.shuffle,
      sampling.random_crop, sampling.flip, sampling.seed);
}

}  // namespace minidl::apps
