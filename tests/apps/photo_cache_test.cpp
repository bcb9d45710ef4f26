#include <minidl/apps/common/photo_cache.h>
#include <minidl/core/error.h>
#include <support/compare.h>
#include <support/file_size_limit.h>
#include <support/photos.h>

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <random>
#include <thread>

namespace minidl::apps {
namespace {

namespace fs = std::filesystem;
using test::read_bytes;
using test::TemporaryFolder;
using test::write_bytes;

constexpr int64_t kSide = 8;
constexpr PhotoStamp kStamp{100, 200};

/// Photo number i, of another width than its neighbours.
Photo photo_number(int64_t i, int64_t side = kSide) {
  Photo photo{.height = side, .width = side + i % 5, .rgb = {}};
  std::mt19937_64 bits(static_cast<uint64_t>(i));
  for (int64_t k = 0; k < photo.height * photo.width * 3; ++k) photo.rgb.push_back(static_cast<uint8_t>(bits()));
  return photo;
}

class PhotoCacheTest : public ::testing::Test {
 protected:
  PhotoCacheTest() {
    for (int i = 0; i < 1000; ++i) photos_.names.push_back("sub/" + std::to_string(i) + ".jpg");
  }
  PhotoCache open(int64_t side = kSide) const { return {file_, photos_, side}; }

  static ::testing::AssertionResult holds(const PhotoCache& cache, int64_t i, int64_t side = kSide) {
    const std::optional<Photo> found = cache.find(i, kStamp);
    if (!found) return ::testing::AssertionFailure() << "photo " << i << " is not there";
    const Photo expected = photo_number(i, side);
    const bool same = found->height == expected.height && found->width == expected.width && found->rgb == expected.rgb;
    return same ? ::testing::AssertionSuccess() : ::testing::AssertionFailure() << "photo " << i << " is another";
  }

  /// In place of the cache; a new file, since some file systems wait for the disk when an old one is cut and rewritten.
  void replace_file(const std::string& bytes) const {
    fs::remove(file_);
    write_bytes(file_, bytes);
  }

  const TemporaryFolder folder_;
  const fs::path file_ = folder_ / "photos.cache";
  PhotoList photos_{.folder = folder_.path(), .names = {}};
};

TEST_F(PhotoCacheTest, KeepsPhotosForTheNextRun) {
  {
    PhotoCache cache = open();
    EXPECT_FALSE(cache.find(1, kStamp));
    for (const int64_t i : {1, 5, 7}) cache.store(i, kStamp, photo_number(i));
    EXPECT_TRUE(holds(cache, 5));
  }
  const PhotoCache cache = open();
  for (const int64_t i : {1, 5, 7}) EXPECT_TRUE(holds(cache, i));
  EXPECT_FALSE(cache.find(2, kStamp));
  EXPECT_EQ(cache.entries(), 3);
  EXPECT_EQ(cache.problem(), "");
}

TEST_F(PhotoCacheTest, StaleEntriesAreNotUsed) {
  {
    PhotoCache cache = open();
    cache.store(3, kStamp, photo_number(3));
    cache.store(4, kStamp, photo_number(4));
  }
  {
    PhotoCache other = open(2 * kSide);  // another scale in the same file
    EXPECT_FALSE(other.find(3, kStamp));
    other.store(3, kStamp, photo_number(3, 2 * kSide));
    EXPECT_TRUE(holds(other, 3, 2 * kSide));
  }
  PhotoCache cache = open();
  EXPECT_FALSE(cache.find(4, {101, 200}));
  EXPECT_FALSE(cache.find(4, {100, 201}));
  EXPECT_TRUE(holds(cache, 3));
  cache.store(4, {101, 300}, photo_number(9));
  EXPECT_FALSE(cache.find(4, kStamp));
  PhotoList moved = photos_;
  moved.folder = folder_ / "elsewhere";
  EXPECT_EQ(PhotoCache(folder_ / "photos.cache", moved, kSide).entries(), 0);
}

TEST_F(PhotoCacheTest, AddedAndRemovedPhotosMoveTheNumbersOnly) {
  open().store(500, kStamp, photo_number(500));
  photos_.names.erase(photos_.names.begin() + 10);
  const PhotoCache cache = open();
  EXPECT_FALSE(cache.find(500, kStamp));
  EXPECT_TRUE(cache.find(499, kStamp));
}

TEST_F(PhotoCacheTest, ATornTailIsCutOffWhereverItIsTorn) {
  photos_.names.resize(5);
  open().store(1, kStamp, photo_number(1));
  const std::string one = read_bytes(file_);
  open().store(2, kStamp, photo_number(2));
  const std::string two = read_bytes(file_);
  for (size_t length = 0; length < two.size(); ++length) {
    replace_file(two.substr(0, length));
    {
      PhotoCache cache = open();
      ASSERT_EQ(cache.problem(), "") << length;
      ASSERT_EQ(static_cast<bool>(cache.find(1, kStamp)), length >= one.size()) << length;
      ASSERT_FALSE(cache.find(2, kStamp)) << length;
      cache.store(2, kStamp, photo_number(2));
    }
    const PhotoCache again = open();
    ASSERT_TRUE(holds(again, 2)) << length;
    ASSERT_EQ(again.entries(), length >= one.size() ? 2 : 1) << length;
  }
}

TEST_F(PhotoCacheTest, AnyDamagedByteIsNoticed) {
  photos_.names.resize(5);
  {
    PhotoCache cache = open();
    cache.store(1, kStamp, photo_number(1));
    cache.store(2, kStamp, photo_number(2));
  }
  const std::string good = read_bytes(file_);
  for (size_t at = 12; at < good.size(); ++at) {  // after the header
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x40);
    replace_file(bad);
    const PhotoCache cache = open();
    const std::optional<Photo> first = cache.find(1, kStamp), second = cache.find(2, kStamp);
    ASSERT_FALSE(first && second) << at;
    ASSERT_TRUE(!first || first->rgb == photo_number(1).rgb) << at;
    ASSERT_TRUE(!second || second->rgb == photo_number(2).rgb) << at;
  }
}

TEST_F(PhotoCacheTest, AKilledProcessLosesNothingThatWasStored) {
  std::mt19937_64 bits(4);
  int64_t before = 0;
  for (int round = 0; round < 10; ++round) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      PhotoCache cache = open();
      for (int64_t i = cache.entries() % 1000;; i = (i + 1) % 1000) cache.store(i, kStamp, photo_number(i));
    }
    std::this_thread::sleep_for(std::chrono::microseconds(2000 + bits() % 8000));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    const PhotoCache cache = open();
    EXPECT_EQ(cache.problem(), "");
    EXPECT_GE(cache.entries(), before);
    before = cache.entries();
    for (int64_t i = 0; i < before; ++i) ASSERT_TRUE(holds(cache, i)) << round;
  }
}

TEST_F(PhotoCacheTest, AFullDiskStopsTheWritingAlone) {
  PhotoCache cache = open();
  cache.store(1, kStamp, photo_number(1));
  const std::string one = read_bytes(file_);
  {
    const test::FileSizeLimit limit(one.size() + 100);
    cache.store(2, kStamp, photo_number(2));
  }
  EXPECT_NE(cache.problem().find("is no longer written: File too large"), std::string::npos) << cache.problem();
  EXPECT_EQ(read_bytes(file_), one);
  EXPECT_TRUE(holds(cache, 1));
  EXPECT_FALSE(cache.find(2, kStamp));
  cache.store(3, kStamp, photo_number(3));
  EXPECT_FALSE(cache.find(3, kStamp));
}

TEST_F(PhotoCacheTest, WhatCannotBeACacheIsLeftAlone) {
  const fs::path text = write_bytes(folder_ / "text", "a letter of some length");
  std::string newer = "MDLPHOTO";
  newer += std::string("\x09\0\0\0", 4);
  const fs::path other = write_bytes(folder_ / "newer", newer);
  fs::create_directory(folder_ / "sub");
  const std::pair<fs::path, const char*> cases[] = {{text, "the file is something else, or of another version"},
                                                    {other, "the file is something else, or of another version"},
                                                    {folder_ / "sub", "Is a directory"},
                                                    {folder_ / "none/cache", "No such file or directory"},
                                                    {"/dev/null", "not a regular file"}};
  for (const auto& [path, words] : cases) {
    PhotoCache cache(path, photos_, kSide);
    cache.store(1, kStamp, photo_number(1));
    EXPECT_FALSE(cache.find(1, kStamp)) << path;
    EXPECT_NE(cache.problem().find(words), std::string::npos) << cache.problem();
  }
  EXPECT_EQ(read_bytes(text), "a letter of some length");
  EXPECT_EQ(read_bytes(other), newer);
}

TEST_F(PhotoCacheTest, ASecondWriterOnlyReads) {
  PhotoCache first = open();
  first.store(1, kStamp, photo_number(1));
  PhotoCache second = open();
  EXPECT_NE(second.problem().find("another process writes"), std::string::npos) << second.problem();
  EXPECT_TRUE(holds(second, 1));
  second.store(2, kStamp, photo_number(2));
  EXPECT_FALSE(second.find(2, kStamp));
  first.store(3, kStamp, photo_number(3));
  EXPECT_TRUE(holds(first, 3));
}

TEST_F(PhotoCacheTest, ThreadsMayStoreAndFindTogether) {
  {
    PhotoCache cache = open();
    std::vector<std::thread> threads;
    for (int64_t first = 0; first < 4; ++first) {
      threads.emplace_back([&cache, first] {
        for (int64_t i = first; i < 400; i += 4) {
          cache.store(i, kStamp, photo_number(i));
          EXPECT_TRUE(holds(cache, i));
          cache.find((i * 7) % 400, kStamp);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  const PhotoCache cache = open();
  for (int64_t i = 0; i < 400; ++i) ASSERT_TRUE(holds(cache, i));
}

TEST(StampOf, TellsSizeAndTime) {
  const TemporaryFolder folder;
  EXPECT_FALSE(stamp_of(folder / "none"));
  const fs::path file = write_bytes(folder / "a", "123");
  const auto before = stamp_of(file);
  ASSERT_TRUE(before);
  EXPECT_EQ(before->bytes, 3u);
  fs::last_write_time(file, fs::last_write_time(file) + std::chrono::nanoseconds(1000));
  EXPECT_EQ(stamp_of(file)->modified, before->modified + 1000);
}

}  // namespace
}  // namespace minidl::apps
