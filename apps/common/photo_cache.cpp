#include <minidl/apps/common/photo_cache.h>
#include <minidl/core/error.h>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <mutex>
#include <span>
#include <system_error>
#include <unordered_map>

namespace fs = std::filesystem;

namespace minidl::apps {
namespace {

static_assert(std::endian::native == std::endian::little, "the records are written as they lie in memory");

constexpr char kMagic[8] = {'M', 'D', 'L', 'P', 'H', 'O', 'T', 'O'};
constexpr uint32_t kVersion = 1, kMark = 0x4f485043;
constexpr int64_t kHeaderBytes = sizeof kMagic + sizeof kVersion;
constexpr uint32_t kLongestPath = 1 << 16, kLargestSide = 1 << 20;

struct Record {
  uint32_t mark, path_bytes;
  PhotoStamp stamp;
  uint32_t shorter_side, height, width, unused;
  uint64_t pixel_hash, record_hash;

  int64_t pixel_bytes() const { return int64_t{height} * width * 3; }
  int64_t bytes() const { return static_cast<int64_t>(sizeof(Record)) + path_bytes + pixel_bytes(); }
};
static_assert(sizeof(Record) == 56 && offsetof(Record, record_hash) == 48, "no padding: this is the file's layout");

/// Finds torn and lost bytes, 8 at a time; no protection against malice.
uint64_t hash_of(const void* data, size_t bytes, uint64_t hash = 0x9e3779b97f4a7c15u) {
  const auto* next = static_cast<const uint8_t*>(data);
  for (size_t left = bytes; left > 0;) {
    const size_t count = std::min(left, sizeof(uint64_t));
    uint64_t word = 0;
    std::memcpy(&word, next, count);
    hash = std::rotl((hash ^ word) * 0xff51afd7ed558ccdu, 31);
    next += count;
    left -= count;
  }
  return hash ^ bytes;
}

uint64_t record_hash(const Record& record, const std::string& path) {
  return hash_of(path.data(), path.size(), hash_of(&record, offsetof(Record, record_hash)));
}

bool read_all(int descriptor, int64_t offset, void* data, int64_t bytes) {
  auto* target = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t got = ::pread(descriptor, target, static_cast<size_t>(bytes), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    target += got;
    offset += got;
    bytes -= got;
  }
  return true;
}

/// False, with errno set, when not everything could be written.
bool write_all(int descriptor, int64_t offset, std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(descriptor, bytes.data(), bytes.size(), offset);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    offset += written;
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return true;
}

std::string reason(int error) {
  return std::generic_category().message(error);
}

}  // namespace

std::optional<PhotoStamp> stamp_of(const fs::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return {};
  return PhotoStamp{static_cast<uint64_t>(status.st_size),
                    int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec};
}

struct PhotoCache::Impl {
  struct Entry {
    PhotoStamp stamp;
    uint32_t height = 0, width = 0;
    int64_t offset = 0;  // of the pixels; 0: there is none
    uint64_t pixel_hash = 0;
  };

  fs::path file;
  const uint32_t shorter_side;
  fs::path folder;                 // absolute
  std::vector<std::string> names;  // of the photos in it
  int descriptor = -1;
  mutable std::mutex mutex;    // of all below
  std::vector<Entry> entries;  // one for each photo
  int64_t end = 0;             // behind the last whole record
  bool writes = false;
  std::string problem;

  Impl(const fs::path& path, const PhotoList& photos, int64_t side)
      : file(path), shorter_side(static_cast<uint32_t>(side)), names(photos.names), entries(photos.names.size()) {
    std::error_code ignored;
    folder = fs::weakly_canonical(photos.folder, ignored);
    if (open()) scan();
  }
  ~Impl() {
    if (descriptor >= 0) ::close(descriptor);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  std::string path_of(size_t index) const { return (folder / names[index]).string(); }

  void stop_writing(const std::string& why) {
    writes = false;
    if (problem.empty()) problem = "[photos] the cache '" + file.string() + "' " + why;
  }

  /// False when there is nothing to read.
  bool open() {
    descriptor = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666);
    const int error = errno;
    writes = descriptor >= 0;
    if (!writes) descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (!writes) stop_writing("cannot be written: " + reason(error));
    if (descriptor < 0) return false;
    struct stat status {};
    if (::fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
      stop_writing("is not used: it is not a regular file");
      return false;
    }
    if (writes && ::flock(descriptor, LOCK_EX | LOCK_NB) != 0)
      stop_writing(errno == EWOULDBLOCK ? "is only read: another process writes to it"
                                        : "is only read: it cannot be locked: " + reason(errno));
    return true;
  }

  void scan() {
    struct stat status {};
    ::fstat(descriptor, &status);
    std::array<char, kHeaderBytes> expected{}, found{};
    std::memcpy(expected.data(), kMagic, sizeof kMagic);
    std::memcpy(expected.data() + sizeof kMagic, &kVersion, sizeof kVersion);
    const int64_t there = std::min<int64_t>(status.st_size, kHeaderBytes);
    const bool readable = read_all(descriptor, 0, found.data(), there);
    if (!readable || std::memcmp(found.data(), expected.data(), static_cast<size_t>(there)) != 0) {
      return stop_writing("is not used: the file is something else, or of another version; remove it or name another");
    }
    end = kHeaderBytes;
    if (there == kHeaderBytes) scan_records(status.st_size);
    if (!writes) return;
    const auto* header = reinterpret_cast<const uint8_t*>(expected.data());
    if (there < kHeaderBytes && !write_all(descriptor, 0, {header, kHeaderBytes}))
      stop_writing("cannot be written: " + reason(errno));
    if (::ftruncate(descriptor, end) != 0) stop_writing("cannot be written: " + reason(errno));
  }

  void scan_records(int64_t size) {
    std::unordered_map<std::string, size_t> index_of;
    index_of.reserve(names.size());
    for (size_t i = 0; i < names.size(); ++i) index_of.emplace(path_of(i), i);
    while (const std::optional<std::pair<Record, std::string>> next = record_at(end, size)) {
      const auto& [record, path] = *next;
      const auto photo = index_of.find(path);
      if (photo != index_of.end() && record.shorter_side == shorter_side)
        entries[photo->second] = {record.stamp, record.height, record.width,
                                  end + static_cast<int64_t>(sizeof record) + record.path_bytes, record.pixel_hash};
      end += record.bytes();
    }
  }

  /// Nothing where no whole record begins.
  std::optional<std::pair<Record, std::string>> record_at(int64_t offset, int64_t size) const {
    Record record{};
    const int64_t left = size - offset;
    if (left < static_cast<int64_t>(sizeof record) || !read_all(descriptor, offset, &record, sizeof record)) return {};
    if (record.mark != kMark || record.path_bytes > kLongestPath || record.height > kLargestSide ||
        record.width > kLargestSide || std::min(record.height, record.width) != record.shorter_side ||
        record.bytes() > left)
      return {};
    std::string path(record.path_bytes, '\0');
    if (!read_all(descriptor, offset + static_cast<int64_t>(sizeof record), path.data(), record.path_bytes)) return {};
    if (record_hash(record, path) != record.record_hash) return {};
    return std::pair(record, std::move(path));
  }
};

PhotoCache::PhotoCache(const fs::path& file, const PhotoList& photos, int64_t shorter_side)
    : impl_(std::make_unique<Impl>(file, photos, shorter_side)) {}
PhotoCache::~PhotoCache() = default;

std::optional<Photo> PhotoCache::find(int64_t index, const PhotoStamp& stamp) const {
  Impl::Entry entry;
  {
    const std::scoped_lock lock(impl_->mutex);
    entry = impl_->entries[static_cast<size_t>(index)];
  }
  if (entry.offset == 0 || entry.stamp != stamp) return {};
  Photo photo{.height = entry.height, .width = entry.width, .rgb = {}};
  photo.rgb.resize(static_cast<size_t>(photo.height * photo.width * 3));
  if (!read_all(impl_->descriptor, entry.offset, photo.rgb.data(), static_cast<int64_t>(photo.rgb.size())) ||
      hash_of(photo.rgb.data(), photo.rgb.size()) != entry.pixel_hash)
    return {};
  return photo;
}

void PhotoCache::store(int64_t index, const PhotoStamp& stamp, const Photo& photo) {
  const std::string path = impl_->path_of(static_cast<size_t>(index));
  Record record{.mark = kMark,
                .path_bytes = static_cast<uint32_t>(path.size()),
                .stamp = stamp,
                .shorter_side = impl_->shorter_side,
                .height = static_cast<uint32_t>(photo.height),
                .width = static_cast<uint32_t>(photo.width),
                .unused = 0,
                .pixel_hash = hash_of(photo.rgb.data(), photo.rgb.size()),
                .record_hash = 0};
  record.record_hash = record_hash(record, path);
  std::vector<uint8_t> bytes(static_cast<size_t>(record.bytes()));
  std::memcpy(bytes.data(), &record, sizeof record);
  std::memcpy(bytes.data() + sizeof record, path.data(), path.size());
  std::memcpy(bytes.data() + sizeof record + path.size(), photo.rgb.data(), photo.rgb.size());

  const std::scoped_lock lock(impl_->mutex);
  if (!impl_->writes) return;
  if (!write_all(impl_->descriptor, impl_->end, bytes)) {
    const int error = errno;
    const bool whole = ::ftruncate(impl_->descriptor, impl_->end) == 0;
    return impl_->stop_writing("is no longer written: " + reason(error) +
                               (whole ? "" : " (what was written in part is cut off by the next run)"));
  }
  impl_->entries[static_cast<size_t>(index)] = {stamp, record.height, record.width,
                                                impl_->end + static_cast<int64_t>(sizeof record) + record.path_bytes,
                                                record.pixel_hash};
  impl_->end += record.bytes();
}

int64_t PhotoCache::entries() const {
  const std::scoped_lock lock(impl_->mutex);
  return std::count_if(impl_->entries.begin(), impl_->entries.end(),
                       [](const Impl::Entry& entry) { return entry.offset > 0; });
}

std::string PhotoCache::problem() const {
  const std::scoped_lock lock(impl_->mutex);
  return impl_->problem;
}

}  // namespace minidl::apps
