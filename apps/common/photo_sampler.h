#pragma once
#include <minidl/apps/common/photo_cache.h>
#include <minidl/apps/common/photo_list.h>

#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

namespace minidl::apps {

/// What decides which samples come: equal settings, photos and numbers give equal bytes.
struct PhotoSampling {
  int64_t size = 256;   // height and width of a sample in pixels, 1 to 4096
  double zoom = 1.0;    // 1 to 8: a photo is scaled so that its shorter side is a random length, size to size * zoom
  bool shuffle = true;  // a new order for each epoch; else that of the list
  bool random_crop = true;  // else the centre, as much of it as possible
  bool flip = true;         // mirrored left to right in half of the cases
  uint64_t seed = 0;

  /// Shorter side of the photos that samples are cut from.
  int64_t shorter_side() const;
};

/// Makes the samples of an endless sequence: number i belongs to epoch i / photos and takes the photo at place i %
/// photos of that epoch's order, or, when that one cannot be read, the next in the order that can (the first follows
/// the last). Crop and flip are random numbers of (seed, i). So a sample depends on the settings, its number and the
/// files alone: not on other samples, threads, or where a run was resumed. One object for each thread; `photos` and
/// `cache` outlive it.
class PhotoSampler {
 public:
  /// `cache`: nullptr for none; made for the same photos and shorter side.
  PhotoSampler(const PhotoList& photos, const PhotoSampling& settings, PhotoCache* cache);

  /// Writes sample number `index` to `output` [size, size, 3], RGB in [0, 255], and adds the files that could not be
  /// read to `skipped`. Throws Error when none can be read, or when `stopped` says to give up the search for one.
  void sample(int64_t index, float* output, std::vector<SkippedPhoto>& skipped, const std::atomic<bool>& stopped);

 private:
  const std::vector<uint32_t>& order_of(int64_t epoch);
  std::optional<Photo> load(int64_t photo, std::vector<SkippedPhoto>& skipped) const;

  const PhotoList& photos_;
  const PhotoSampling settings_;
  PhotoCache* cache_;
  int64_t epoch_ = -1;  // of order_
  std::vector<uint32_t> order_;
};

}  // namespace minidl::apps
