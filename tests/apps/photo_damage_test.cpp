#include <minidl/apps/common/photo_batches.h>
#include <minidl/core/error.h>
#include <support/compare.h>
#include <support/photos.h>

#include <map>

namespace minidl::apps {
namespace {

namespace fs = std::filesystem;
using test::same_bytes;
using test::write_bytes;

constexpr int kFiles = 1000, kBad = 200;

/// 1,000 files in nested folders, 200 of them not as they should be: 120 that cannot be read and 80 that can (CMYK,
/// grey, 1 x 1, transparent).
class MixedPhotos {
 public:
  MixedPhotos() {
    for (int i = 0; i < kFiles; ++i) {
      const std::string name = "set" + std::to_string(i % 7) + "/" + std::to_string(i);
      fs::create_directories((folder_ / name).parent_path());
      if (i % (kFiles / kBad) == 2) {
        write_bad(name, i / (kFiles / kBad) % 10);
      } else {
        write_bytes(folder_ / (name + (i % 2 ? ".jpg" : ".png")), i % 2 ? good_jpegs_[i % 19] : good_pngs_[i % 19]);
      }
    }
  }
  PhotoList list() const { return list_photos(folder_.path()); }
  fs::path operator/(const std::string& name) const { return folder_ / name; }

  /// Words that the reason must have, of each file that cannot be read.
  std::map<fs::path, std::string> unreadable;

 private:
  static std::vector<std::string> pictures(const std::string& extension) {
    std::vector<std::string> result;
    for (int i = 0; i < 19; ++i) {
      const Tensor picture = test::random_picture(20 + i % 11, 20 + i % 13, static_cast<uint64_t>(i));
      result.push_back(test::encoded_picture(picture, extension));
    }
    return result;
  }
  static std::string transparent() {
    const test::TemporaryFolder folder;
    save_image_file(folder / "a.png", {.rgb = test::flat_picture(5, 6, 90), .alpha = Tensor::full({1, 5, 6, 1}, 99)});
    return test::read_bytes(folder / "a.png");
  }

  void write_unreadable(const std::string& name, const std::string& bytes, const std::string& words) {
    unreadable[write_bytes(folder_ / name, bytes)] = words;
  }
  void write_bad(const std::string& name, int kind) {
    const std::string &jpg = good_jpegs_[3], &png = good_pngs_[3];
    switch (kind) {
      case 0:
        return write_unreadable(name + ".jpg", jpg.substr(0, jpg.size() / 2), "truncated");
      case 1:
        return write_unreadable(name + ".png", png.substr(0, png.size() - 40), "truncated");
      case 2:
        return write_unreadable(name + ".jpg", "", "the file is empty");
      case 3:
        return write_unreadable(name + ".png", "<html>404: this photo is no longer here</html>", "not a picture");
      case 4:
        return write_unreadable(name + ".png", huge_, "too large: 60000 x 60000");
      case 5:
        return write_unreadable(name + ".jpg", std::string(3000, '\0'), "not a picture");
      default:
        write_bytes(folder_ / (name + (kind < 8 ? ".jpg" : ".png")), unusual_[static_cast<size_t>(kind - 6)]);
    }
  }

  const std::vector<std::string> good_jpegs_ = pictures("jpg"), good_pngs_ = pictures("png");
  const std::string huge_ = test::png_that_promises(60000, 60000);
  const std::string unusual_[4] = {test::jpeg_of_one_block(4), test::jpeg_of_one_block(1),
                                   test::encoded_picture(test::flat_picture(1, 1, 50), "png"), transparent()};
  const test::TemporaryFolder folder_;
};

TEST(PhotoDamage, AThousandFilesWithTwoHundredBadOnesRunThrough) {
  MixedPhotos photos;
  ASSERT_EQ(photos.unreadable.size(), 120u);
  const PhotoList list = photos.list();
  ASSERT_EQ(list.count(), kFiles);
  PhotoBatchesOptions options{.sampling = {.size = 16, .seed = 3}, .batch = 8, .threads = 2};
  PhotoBatches plain(list, options);
  options.cache = photos / "photos.cache";
  PhotoBatches cached(list, options);
  const int64_t batches = 2 * kFiles / options.batch;
  for (int64_t i = 0; i < batches; ++i) {
    const Tensor batch = plain.next();
    ASSERT_EQ(batch.shape(), Shape({8, 16, 16, 3}));
    for (const float value : batch.span<float>()) ASSERT_TRUE(value >= 0 && value <= 255);
    ASSERT_TRUE(same_bytes(batch, cached.next())) << i;
  }
  for (const PhotoBatches* reader : {&plain, &cached}) {
    const std::vector<SkippedPhoto> skipped = reader->skipped();
    ASSERT_EQ(skipped.size(), photos.unreadable.size());
    for (size_t i = 1; i < skipped.size(); ++i) EXPECT_LT(skipped[i - 1].file, skipped[i].file);
    for (const auto& [file, reason] : skipped) {
      ASSERT_TRUE(photos.unreadable.contains(file)) << file << ": " << reason;
      EXPECT_NE(reason.find(photos.unreadable.at(file)), std::string::npos) << reason;
      EXPECT_NE(reason.find(file.string()), std::string::npos) << reason;
    }
  }
  EXPECT_EQ(cached.cache_problem(), "");
}

}  // namespace
}  // namespace minidl::apps
