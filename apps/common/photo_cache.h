#pragma once
#include <minidl/apps/common/photo.h>
#include <minidl/apps/common/photo_list.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace minidl::apps {

/// What a photo's file was when it was decoded; an entry made from another state of it is not used.
struct PhotoStamp {
  uint64_t bytes = 0;
  int64_t modified = 0;  // nanoseconds since 1970
  bool operator==(const PhotoStamp&) const = default;
};
/// Empty when the file is not there.
std::optional<PhotoStamp> stamp_of(const std::filesystem::path& path);

/// One file with the scaled photos of a folder, so that later epochs and later runs do not decode. Thread-safe.
///
/// Format, little-endian: the magic "MDLPHOTO" and a version (uint32), which changes with whatever changes pixels; then
/// records, each of
///   uint32 mark 0x4f485043, uint32 length of the path, uint64 bytes and int64 modification time (ns) of the source
///   file, uint32 shorter side, uint32 height, uint32 width, uint32 0, uint64 hash of the pixels, uint64 hash of the
///   record so far and the path, the absolute path of the source file, the pixels (uint8 [height, width, 3]).
/// Records are only appended; the last one for a path, stamp and shorter side counts, others are skipped. A process
/// that is killed leaves at most a torn last record, found by its length or hash and cut off by the next one that
/// writes; what a crash of the machine lost inside the file is found by the hash of the pixels.
///
/// The cache never fails: where the file cannot be opened or written (unwritable folder, full disk, another process
/// that writes to it, no cache file at all) it goes on with what it can read, and problem() says why.
class PhotoCache {
 public:
  PhotoCache(const std::filesystem::path& file, const PhotoList& photos, int64_t shorter_side);
  ~PhotoCache();
  PhotoCache(const PhotoCache&) = delete;
  PhotoCache& operator=(const PhotoCache&) = delete;

  /// The photo of this number, if it was stored for the stamp and its bytes are whole.
  std::optional<Photo> find(int64_t index, const PhotoStamp& stamp) const;
  void store(int64_t index, const PhotoStamp& stamp, const Photo& photo);
  /// Photos that were found in the file or stored since.
  int64_t entries() const;
  /// Why the cache is not used or no longer written; empty while all is well.
  std::string problem() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace minidl::apps
