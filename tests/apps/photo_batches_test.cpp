#include <minidl/apps/common/photo_batches.h>
#include <minidl/core/allocator.h>
#include <minidl/core/error.h>
#include <support/compare.h>
#include <support/photos.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <memory>
#include <set>
#include <thread>

namespace minidl::apps {
namespace {

namespace fs = std::filesystem;
using test::same_bytes;
using test::TemporaryFolder;
using test::throws_error;
using test::write_bytes;

/// A folder of `count` flat pictures, each of its own level.
class FlatPhotos {
 public:
  explicit FlatPhotos(int count, int64_t height = 9, int64_t width = 11) {
    for (int i = 0; i < count; ++i) save_image(path(i), test::flat_picture(height, width, i));
  }
  fs::path path(int i) const { return folder_ / (std::to_string(1000 + i) + ".bmp"); }
  void damage(int i) const { write_bytes(path(i), "text"); }
  PhotoList list() const { return list_photos(folder_.path()); }
  fs::path operator/(const std::string& name) const { return folder_ / name; }

 private:
  const TemporaryFolder folder_;
};

PhotoBatchesOptions small(int64_t batch, uint64_t seed = 1) {
  return {.sampling = {.size = 8, .seed = seed}, .batch = batch};
}

/// The levels of the flat photos in the next batches.
std::vector<int> levels(PhotoBatches& batches, int count) {
  std::vector<int> result;
  for (int i = 0; i < count; ++i) {
    const Tensor batch = batches.next();
    const int64_t values = batch.count() / batch.shape()[0];
    for (int64_t sample = 0; sample < batch.shape()[0]; ++sample) {
      const std::span<const float> pixels =
          batch.span<float>().subspan(static_cast<size_t>(sample * values), static_cast<size_t>(values));
      EXPECT_TRUE(std::all_of(pixels.begin(), pixels.end(), [&](float value) { return value == pixels[0]; }));
      result.push_back(static_cast<int>(pixels[0]));
    }
  }
  return result;
}
std::vector<int> sorted(std::vector<int> values) {
  std::sort(values.begin(), values.end());
  return values;
}
const std::vector<int> kZeroToNine = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};

TEST(PhotoBatches, EveryEpochShowsEachPhotoOnceInAnotherOrder) {
  const FlatPhotos photos(10);
  PhotoBatches batches(photos.list(), small(5));
  std::set<std::vector<int>> orders;
  for (int epoch = 0; epoch < 6; ++epoch) {
    EXPECT_EQ(batches.epoch(), epoch);
    const std::vector<int> order = levels(batches, 2);
    EXPECT_EQ(sorted(order), kZeroToNine);
    orders.insert(order);
  }
  EXPECT_EQ(orders.size(), 6u);
  EXPECT_EQ(batches.position(), 12);
  PhotoBatches again(photos.list(), small(5)), other(photos.list(), small(5, 2));
  EXPECT_TRUE(orders.contains(levels(again, 2)));
  EXPECT_FALSE(orders.contains(levels(other, 2)));
  EXPECT_TRUE(batches.skipped().empty());
}

TEST(PhotoBatches, WithoutShuffleTheOrderIsTheLists) {
  const FlatPhotos photos(10);
  PhotoBatches batches(photos.list(), {.sampling = validation_sampling(8), .batch = 4});
  EXPECT_EQ(levels(batches, 3), (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1}));
  batches.seek(0);
  EXPECT_EQ(levels(batches, 1), (std::vector<int>{0, 1, 2, 3}));
  const Tensor second = batches.at(1), third = batches.at(2);
  EXPECT_EQ(batches.position(), 3);
  EXPECT_TRUE(test::same_bytes(batches.at(1), second));
  EXPECT_FALSE(test::same_bytes(second, third));
}

/// Photos of many sizes with details, so that every crop and flip differs.
class DetailedPhotos {
 public:
  explicit DetailedPhotos(int count) {
    fs::create_directories(folder_ / "sub");
    for (int i = 0; i < count; ++i) {
      const std::string name = (i % 2 ? "sub/" : "") + std::to_string(i) + (i % 3 ? ".png" : ".jpg");
      save_image(folder_ / name, test::random_picture(10 + i % 7 * 5, 12 + i % 5 * 9, static_cast<uint64_t>(i)));
    }
  }
  PhotoList list() const { return list_photos(folder_.path()); }
  fs::path operator/(const std::string& name) const { return folder_ / name; }

 private:
  const TemporaryFolder folder_;
};

std::vector<Tensor> run(PhotoBatches& batches, int count) {
  std::vector<Tensor> result;
  for (int i = 0; i < count; ++i) result.push_back(batches.next());
  return result;
}
::testing::AssertionResult same(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (!same_bytes(a[i], b.at(i))) return ::testing::AssertionFailure() << "batch " << i << " differs";
  }
  return ::testing::AssertionSuccess();
}

TEST(PhotoBatches, TheSameBytesForAnyThreadsAndFromAnyPosition) {
  for (const int photos_count : {1, 3, 23}) {
    const DetailedPhotos photos(photos_count);
    if (photos_count > 3) write_bytes(photos / "0.jpg", "damaged");
    for (const double zoom : {1.0, 1.6}) {
      PhotoBatchesOptions options{.sampling = {.size = 13, .zoom = zoom, .seed = 5}, .batch = 4};
      PhotoBatches first(photos.list(), options);
      const std::vector<Tensor> expected = run(first, 12);
      for (const int threads : {1, 2, 5}) {
        options.threads = threads;
        options.ahead = 1 + threads % 3;
        PhotoBatches batches(photos.list(), options);
        EXPECT_TRUE(same(expected, run(batches, 12))) << threads;
        for (const int position : {7, 0, 11}) {
          batches.seek(position);
          EXPECT_EQ(batches.position(), position);
          EXPECT_TRUE(same_bytes(batches.next(), expected[static_cast<size_t>(position)])) << position;
        }
        PhotoBatches resumed(photos.list(), options);
        resumed.seek(9);
        EXPECT_TRUE(same({expected.begin() + 9, expected.end()}, run(resumed, 3)));
      }
    }
  }
}

TEST(PhotoBatches, OnePhotoFillsABatchWithDifferentParts) {
  const TemporaryFolder folder;
  save_image(folder / "a.png", test::random_picture(10, 50, 1));
  PhotoBatches batches(list_photos(folder.path()), small(6));
  const Tensor batch = batches.next();
  EXPECT_EQ(batch.shape(), Shape({6, 8, 8, 3}));
  EXPECT_EQ(batches.epoch(), 6);
  for (int64_t i = 1; i < 6; ++i) EXPECT_FALSE(same_bytes(batch.slice(i, i + 1), batch.slice(0, 1))) << i;
}

TEST(PhotoBatches, ValidationTakesTheCentre) {
  const TemporaryFolder folder;
  const Tensor picture = test::random_picture(8, 12, 3);
  save_image(folder / "a.png", picture);
  PhotoBatches batches(list_photos(folder.path()), {.sampling = validation_sampling(8), .batch = 2});
  const Tensor batch = batches.next();
  EXPECT_TRUE(same_bytes(batch.slice(0, 1), batch.slice(1, 2)));
  for (int64_t y = 0; y < 8; ++y) {
    for (int64_t k = 0; k < 24; ++k)
      ASSERT_EQ(batch.data<float>()[y * 24 + k], picture.data<float>()[y * 36 + 6 + k]) << y << " " << k;
  }
}

TEST(PhotoBatches, HundredThousandPhotosAreNames) {
  const FlatPhotos photos(1);
  PhotoList list = photos.list();
  list.names.resize(100000, list.names[0]);
  PhotoBatches batches(list, small(4));
  EXPECT_EQ(levels(batches, 3), std::vector<int>(12, 0));
  batches.seek(25000);
  EXPECT_EQ(batches.epoch(), 1);
  EXPECT_EQ(levels(batches, 1), std::vector<int>(4, 0));
}

TEST(PhotoBatches, AnUnreadablePhotoIsReplacedByTheNextAndListed) {
  const FlatPhotos photos(10);
  for (const int i : {0, 4, 5, 9}) photos.damage(i);
  PhotoBatches batches(photos.list(), {.sampling = validation_sampling(8), .batch = 5});
  EXPECT_TRUE(batches.skipped().empty());
  EXPECT_EQ(levels(batches, 1), (std::vector<int>{1, 1, 2, 3, 6}));
  std::vector<SkippedPhoto> skipped = batches.skipped();
  ASSERT_EQ(skipped.size(), 3u);  // as far as the first batch has come
  EXPECT_EQ(skipped[1].file, photos.path(4));
  EXPECT_NE(skipped[1].reason.find("not a picture"), std::string::npos) << skipped[1].reason;
  EXPECT_EQ(levels(batches, 3), (std::vector<int>{6, 6, 7, 8, 1, 1, 1, 2, 3, 6, 6, 6, 7, 8, 1}));
  skipped = batches.skipped();
  ASSERT_EQ(skipped.size(), 4u);
  EXPECT_EQ(skipped[3].file, photos.path(9));
}

TEST(PhotoBatches, FoldersThatCouldNotBeReadAreListedToo) {
  const FlatPhotos photos(2);
  photos.damage(1);
  PhotoList list = photos.list();
  list.unreadable.push_back({photos / "0", "Permission denied"});
  PhotoBatches batches(list, small(2));
  ASSERT_EQ(batches.skipped().size(), 1u);
  EXPECT_EQ(batches.skipped()[0].reason, "Permission denied");
  EXPECT_EQ(levels(batches, 1), (std::vector<int>{0, 0}));
  EXPECT_EQ(batches.skipped().size(), 2u);
}

TEST(PhotoBatches, PhotosMayVanishChangeAndComeBack) {
  for (const bool cached : {false, true}) {
    const FlatPhotos photos(10);
    PhotoBatchesOptions options{.sampling = validation_sampling(8), .batch = 10};
    const PhotoList list = photos.list();
    if (cached) options.cache = photos / "cache";
    PhotoBatches batches(list, options);
    EXPECT_EQ(levels(batches, 1), kZeroToNine);
    fs::remove(photos.path(2));
    photos.damage(5);
    save_image(photos.path(7), test::flat_picture(20, 30, 77));
    batches.seek(1);
    EXPECT_EQ(levels(batches, 1), (std::vector<int>{0, 1, 3, 3, 4, 6, 6, 77, 8, 9}));
    const std::vector<SkippedPhoto> skipped = batches.skipped();
    ASSERT_EQ(skipped.size(), 2u);
    EXPECT_NE(skipped[0].reason.find("No such file"), std::string::npos) << skipped[0].reason;
    save_image(photos.path(2), test::flat_picture(8, 8, 22));
    batches.seek(2);
    EXPECT_EQ(levels(batches, 1), (std::vector<int>{0, 1, 22, 3, 4, 6, 6, 77, 8, 9}));
    EXPECT_EQ(batches.cache_problem(), "");
  }
}

TEST(PhotoBatches, TheCacheChangesNoByte) {
  const DetailedPhotos photos(23);
  write_bytes(photos / "damaged.png", "text");
  const TemporaryFolder elsewhere;
  PhotoBatchesOptions options{.sampling = {.size = 13, .zoom = 1.4, .seed = 8}, .batch = 4, .threads = 2};
  PhotoBatches plain(photos.list(), options);
  const std::vector<Tensor> expected = run(plain, 18);
  options.cache = elsewhere / "cache";
  for (int repeat = 0; repeat < 2; ++repeat) {
    PhotoBatches cached(photos.list(), options);
    EXPECT_TRUE(same(expected, run(cached, 18))) << repeat;
    EXPECT_EQ(cached.cache_problem(), "");
    EXPECT_EQ(cached.skipped().size(), 1u);
  }
  EXPECT_EQ(PhotoCache(options.cache, photos.list(), options.sampling.shorter_side()).entries(), 23);
  options.cache = elsewhere / "none/cache";
  PhotoBatches without(photos.list(), options);
  EXPECT_TRUE(same(expected, run(without, 18)));
  EXPECT_NE(without.cache_problem().find("No such file"), std::string::npos);
}

TEST(PhotoBatches, WhenNothingCanBeReadItSaysSoAndListsTheFiles) {
  const FlatPhotos photos(7);
  for (int i = 0; i < 7; ++i) photos.damage(i);
  PhotoBatchesOptions options = small(4);
  options.threads = 3;
  PhotoBatches batches(photos.list(), options);
  for (int repeat = 0; repeat < 2; ++repeat)
    EXPECT_TRUE(throws_error([&] { batches.next(); }, "none of the 7 photos in"));
  EXPECT_EQ(batches.skipped().size(), 7u);
  EXPECT_EQ(batches.position(), 0);
  save_image(photos.path(3), test::flat_picture(8, 8, 3));
  batches.seek(0);
  EXPECT_EQ(levels(batches, 1), (std::vector<int>{3, 3, 3, 3}));
}

TEST(PhotoBatches, RunningOutOfMemoryIsNoDamagedPhoto) {
  const FlatPhotos photos(5, 200, 200);
  Allocator& memory = allocator(Device::cpu());
  memory.set_limit(memory.stats().in_use + 100000);  // enough for a batch, not for a photo
  PhotoBatches batches(photos.list(), small(2));
  EXPECT_TRUE(throws_error([&] { batches.next(); }, "[allocator]"));
  memory.set_limit(0);
  EXPECT_TRUE(batches.skipped().empty());
  batches.seek(0);
  EXPECT_EQ(levels(batches, 1).size(), 2u);
}

TEST(PhotoBatches, StaysWithinTheBatchesAhead) {
  const FlatPhotos photos(3, 64, 64);
  const int64_t before = allocator(Device::cpu()).stats().in_use;
  PhotoBatchesOptions options = small(8);
  options.sampling.size = 64;
  options.threads = 2;
  options.ahead = 3;
  PhotoBatches batches(photos.list(), options);
  const int64_t batch_bytes = 8 * 64 * 64 * 3 * 4, slack = 4 * 64 * 64 * 3 * 4 + (1 << 16);
  for (int i = 0; i < 10; ++i) {
    batches.next();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_LE(allocator(Device::cpu()).stats().in_use - before, 3 * batch_bytes + slack);
  }
}

TEST(PhotoBatches, EndsPromptlyInEveryState) {
  const FlatPhotos photos(20);
  PhotoBatchesOptions options = small(4);
  options.threads = 3;
  for (int i = 0; i < 20; ++i) {
    PhotoBatches batches(photos.list(), options);
    for (int k = 0; k < i % 3; ++k) batches.next();
    if (i % 2) batches.seek(i);
  }
  PhotoList many = photos.list();
  many.names.assign(2000000, "not there.jpg");  // whoever looks at each of them takes much longer than the bound below
  auto searching = std::make_unique<PhotoBatches>(many, PhotoBatchesOptions{.sampling = validation_sampling(8)});
  const std::clock_t start = std::clock();  // time of this process's threads: the machine may be busy
  while (std::clock() - start < CLOCKS_PER_SEC / 4) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  searching.reset();
  EXPECT_LT(std::clock() - start, 5 * CLOCKS_PER_SEC);
}

TEST(PhotoBatches, AccessorsMayBeCalledFromOtherThreads) {
  const FlatPhotos photos(10);
  photos.damage(3);
  PhotoBatchesOptions options = small(4);
  options.cache = photos / "cache";
  PhotoBatches batches(photos.list(), options);
  std::atomic<bool> done = false;
  std::thread watcher([&] {
    while (!done) {
      EXPECT_LE(batches.skipped().size(), 1u);
      const int64_t epoch = batches.epoch();  // before the position, which may grow in between
      EXPECT_LE(epoch, batches.position());
      EXPECT_EQ(batches.cache_problem(), "");
    }
  });
  run(batches, 30);
  done = true;
  watcher.join();
}

TEST(PhotoBatches, ChecksItsOptions) {
  const FlatPhotos photos(1);
  const auto refuses = [&](const std::function<void(PhotoBatchesOptions&)>& change, const std::string& words) {
    PhotoBatchesOptions options;
    change(options);
    return throws_error([&] { PhotoBatches(photos.list(), options); }, words);
  };
  EXPECT_TRUE(refuses([](PhotoBatchesOptions& o) { o.batch = 0; }, "batch is 0, it must be in 1 to"));
  EXPECT_TRUE(refuses([](PhotoBatchesOptions& o) { o.sampling.size = 5000; }, "size is 5000"));
  EXPECT_TRUE(refuses([](PhotoBatchesOptions& o) { o.sampling.zoom = 0.5; }, "zoom is 0.5"));
  EXPECT_TRUE(refuses([](PhotoBatchesOptions& o) { o.sampling.zoom = NAN; }, "zoom is nan"));
  EXPECT_TRUE(refuses([](PhotoBatchesOptions& o) { o.threads = 0; }, "threads is 0"));
  EXPECT_TRUE(refuses([](PhotoBatchesOptions& o) { o.ahead = 0; }, "ahead is 0"));
  EXPECT_TRUE(throws_error([] { PhotoBatches({.folder = "x", .names = {}}, {}); }, "photos of 'x' is empty"));
  PhotoBatches batches(photos.list(), small(1));
  EXPECT_TRUE(throws_error([&] { batches.seek(-1); }, "batch number -1"));
}

TEST(PhotoBatches, TheFingerprintHasAllThatCounts) {
  const FlatPhotos photos(2);
  PhotoBatchesOptions options = small(4);
  const std::string before = PhotoBatches(photos.list(), options).fingerprint();
  options.threads = 3;
  options.ahead = 5;
  EXPECT_EQ(PhotoBatches(photos.list(), options).fingerprint(), before);
  std::set<std::string> all = {before};
  options.batch = 5;
  all.insert(PhotoBatches(photos.list(), options).fingerprint());
  options.sampling.seed = 9;
  all.insert(PhotoBatches(photos.list(), options).fingerprint());
  options.sampling.flip = false;
  all.insert(PhotoBatches(photos.list(), options).fingerprint());
  save_image(photos.path(2), test::flat_picture(1, 1, 1));
  all.insert(PhotoBatches(photos.list(), options).fingerprint());
  EXPECT_EQ(all.size(), 5u);
}

}  // namespace
}  // namespace minidl::apps
