#pragma once
#include <minidl/apps/common/photo_sampler.h>
#include <minidl/core/tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace minidl::apps {

struct PhotoBatchesOptions {
  PhotoSampling sampling;
  int64_t batch = 4;              // samples of a batch, 1 to 4096
  int threads = 1;                // that read photos in the background, 1 to 64
  int ahead = 2;                  // batches that are made before they are asked for, 1 to 1024: bounds the memory
  std::filesystem::path cache{};  // see PhotoCache; empty: none
};

/// Settings for photos to validate with: always the same centre crops in the list's order.
PhotoSampling validation_sampling(int64_t size);

/// An endless sequence of batches from a list of photos, made by threads in the background (never by those of
/// parallel_for). Batch i holds the samples i * batch to (i + 1) * batch - 1 of PhotoSampler: the same bytes for any
/// number of threads, with and without a cache, and after seek() to where another run stopped: the position is the
/// whole state. Photos that cannot be read never stop the sequence as long as there is one that can. Use an object from
/// one thread; the accessors may be called from others. The destructor waits for the photos that are being read.
class PhotoBatches {
 public:
  /// Throws Error for an empty list and for options out of their range.
  PhotoBatches(PhotoList photos, const PhotoBatchesOptions& options);
  ~PhotoBatches();
  PhotoBatches(const PhotoBatches&) = delete;
  PhotoBatches& operator=(const PhotoBatches&) = delete;

  /// [batch, size, size, 3], RGB in [0, 255]. Waits for it. Throws Error when no photo can be read or memory runs out;
  /// the position stays, and a later call throws the same until seek().
  Tensor next();
  /// The batch of this number (>= 0): next(), where it is another one after seek().
  Tensor at(int64_t position);
  /// Goes on with the batch of this number (>= 0); those that were made ahead are dropped.
  void seek(int64_t position);

  /// Number of the batch that next() gives.
  int64_t position() const;
  /// Times that all photos have been used before that batch.
  int64_t epoch() const;
  /// The folders of the list that could not be looked into, and the files that the batches up to here should have shown
  /// and could not: each once, by name, with the reason of the first time.
  std::vector<SkippedPhoto> skipped() const;
  /// Why the cache is not used or no longer written; empty while all is well.
  std::string cache_problem() const;
  /// All that determines the batches besides the files' contents, as "name value" pairs: a position means the same in
  /// two runs when these are equal. `prefix` begins every name.
  std::string fingerprint(std::string_view prefix = {}) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace minidl::apps
