#include <minidl/apps/common/photo.h>
#include <minidl/core/error.h>
#include <support/compare.h>
#include <support/photos.h>

#include <set>

namespace minidl::apps {
namespace {

namespace fs = std::filesystem;
using test::TemporaryFolder;
using test::throws_error;
using test::write_bytes;

std::vector<uint8_t> levels_of(const Tensor& x) {
  std::vector<uint8_t> levels;
  for (const float value : x.span<float>())
    levels.push_back(static_cast<uint8_t>(std::lround(std::clamp(value, 0.0f, 255.0f))));
  return levels;
}

TEST(ReadPhoto, ScalesTheShorterSide) {
  const TemporaryFolder folder;
  const Tensor picture = test::random_picture(20, 31, 1);
  save_image(folder / "a.png", picture);
  struct {
    int64_t side, height, width;
  } cases[] = {{20, 20, 31}, {10, 10, 16}, {33, 33, 51}, {1, 1, 2}};
  for (const auto& [side, height, width] : cases) {
    const Photo photo = read_photo(folder / "a.png", side);
    EXPECT_EQ(photo.height, height);
    EXPECT_EQ(photo.width, width);
    EXPECT_EQ(photo.rgb, levels_of(resize_image(picture, height, width))) << side;
  }
}

TEST(ReadPhoto, OnePixelFillsAnySize) {
  const TemporaryFolder folder;
  save_image(folder / "a.png", test::flat_picture(1, 1, 77));
  const Photo photo = read_photo(folder / "a.png", 32);
  EXPECT_EQ(photo.rgb, std::vector<uint8_t>(32 * 32 * 3, 77));
}

TEST(ReadPhoto, OfALongStripTheMiddleIsTaken) {
  const TemporaryFolder folder;
  Tensor strip = Tensor::empty({1, 1, 100, 3});
  for (int64_t i = 0; i < 300; ++i) strip.data<float>()[i] = static_cast<float>(i / 3);
  save_image(folder / "wide.png", strip);
  save_image(folder / "high.png", strip.reshape({1, 100, 1, 3}));
  const Photo wide = read_photo(folder / "wide.png", 1), high = read_photo(folder / "high.png", 1);
  EXPECT_EQ(wide.width, kMaxAspect);
  EXPECT_EQ(wide.rgb.front(), 46);
  EXPECT_EQ(wide.rgb.back(), 53);
  EXPECT_EQ(high.rgb, wide.rgb);
  EXPECT_EQ(read_photo(folder / "wide.png", 16).width, 16 * kMaxAspect);
}

TEST(ReadPhoto, TransparencyIsWhite) {
  const TemporaryFolder folder;
  const Tensor rgb = Tensor::from(std::vector<float>{10, 20, 30, 10, 20, 30, 0, 100, 255}, {1, 1, 3, 3});
  const Tensor alpha = Tensor::from(std::vector<float>{0, 255, 51}, {1, 1, 3, 1});
  save_image_file(folder / "a.png", {.rgb = rgb, .alpha = alpha});
  EXPECT_EQ(read_photo(folder / "a.png", 1).rgb, (std::vector<uint8_t>{255, 255, 255, 10, 20, 30, 204, 224, 255}));
}

TEST(ReadPhoto, OtherKindsBecomeRgb) {
  const TemporaryFolder folder;
  const auto pixels_of = [&](const std::string& bytes) { return read_photo(write_bytes(folder / "a", bytes), 8).rgb; };
  EXPECT_EQ(pixels_of(test::jpeg_of_one_block(1)), std::vector<uint8_t>(192, 128));
  EXPECT_EQ(pixels_of(test::jpeg_of_one_block(3)), std::vector<uint8_t>(192, 128));
  EXPECT_EQ(pixels_of(test::jpeg_of_one_block(4)),
            std::vector<uint8_t>(192, 64));  // 128 of the colour, 128 of the black
  save_image(folder / "deep.png", Tensor::full({1, 1, 1, 3}, 100.4f), {.bit_depth = 16});
  EXPECT_EQ(read_photo(folder / "deep.png", 1).rgb, std::vector<uint8_t>(3, 100));
  const std::string png = test::encoded_picture(test::random_picture(2, 3, 5), "png");
  const Photo turned =
      read_photo(write_bytes(folder / "b", test::png_with_exif(png, test::exif_with_orientation(6, false))), 2);
  EXPECT_EQ(turned.height, 3);
  EXPECT_EQ(turned.width, 2);
}

TEST(ReadPhoto, RefusesBombsBeforeItTakesMemory) {
  const TemporaryFolder folder;
  const fs::path promises = write_bytes(folder / "a.png", test::png_that_promises(16000, 16000));
  EXPECT_TRUE(throws_error([&] { read_photo(promises, 8); }, "16000 x 16000 pixels"));
  const fs::path sparse = write_bytes(folder / "b.jpg", "\xff\xd8");
  fs::resize_file(sparse, uintmax_t{1} << 40);
  EXPECT_TRUE(throws_error([&] { read_photo(sparse, 8); }, "b.jpg' is too large: 1099511627776 bytes"));
}

/// Every pixel tells where it is: red its row, green its column.
Photo map_of(int64_t height, int64_t width) {
  Photo photo{.height = height, .width = width, .rgb = {}};
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      for (const int64_t value : {y, x, int64_t{9}}) photo.rgb.push_back(static_cast<uint8_t>(value));
    }
  }
  return photo;
}

struct Cut {
  int64_t top, left;
  bool mirrored;
  auto operator<=>(const Cut&) const = default;
};
/// Where a sample of a map that was not scaled lies; fails when it is not one part of it.
Cut where(const std::vector<float>& sample, int64_t size) {
  const bool mirrored = size > 1 && sample[4] < sample[1];
  const Cut cut{static_cast<int64_t>(sample[0]), static_cast<int64_t>(sample[1]) - (mirrored ? size - 1 : 0), mirrored};
  for (int64_t y = 0; y < size; ++y) {
    for (int64_t x = 0; x < size; ++x) {
      const float* pixel = sample.data() + (y * size + x) * 3;
      EXPECT_EQ(pixel[0], static_cast<float>(cut.top + y));
      EXPECT_EQ(pixel[1], static_cast<float>(cut.left + (mirrored ? size - 1 - x : x)));
      EXPECT_EQ(pixel[2], 9.0f);
    }
  }
  return cut;
}

std::set<Cut> cuts_of(const Photo& photo, const CutOptions& options) {
  std::set<Cut> cuts;
  std::vector<float> sample(static_cast<size_t>(options.size * options.size * 3));
  for (uint64_t stream = 0; stream < 300; ++stream) {
    cut_sample(photo, options, Rng(3, stream), sample.data());
    cuts.insert(where(sample, options.size));
  }
  return cuts;
}

TEST(CutSample, TakesEveryPartAndBothDirections) {
  const Photo photo = map_of(6, 9);
  const std::set<Cut> wide = cuts_of(photo, {.size = 6, .random = true, .flip = true});
  EXPECT_EQ(wide.size(), 4u * 2);
  EXPECT_EQ(wide.begin()->left, 0);
  EXPECT_EQ(wide.rbegin()->left, 3);
  EXPECT_EQ(cuts_of(photo, {.size = 6, .random = true, .flip = false}).size(), 4u);
  EXPECT_EQ(cuts_of(map_of(9, 6), {.size = 6, .random = true, .flip = false}).rbegin()->top, 3);
  EXPECT_EQ(cuts_of(photo, {.size = 6, .random = false, .flip = false}), (std::set<Cut>{{0, 1, false}}));
  EXPECT_EQ(cuts_of(map_of(6, 6), {.size = 6, .random = true, .flip = true}).size(), 2u);
}

TEST(CutSample, AZoomedPartIsScaledDown) {
  const Photo photo = map_of(40, 60);
  std::set<float> steps;  // of the rows in a sample: how much of the photo a pixel covers
  std::vector<float> sample(20 * 20 * 3);
  for (uint64_t stream = 0; stream < 200; ++stream) {
    cut_sample(photo, {.size = 20, .random = true, .flip = false}, Rng(3, stream), sample.data());
    const float step = (sample[19 * 60] - sample[0]) / 19;
    EXPECT_GE(step, 0.999f);
    EXPECT_LE(step, 2.001f);
    EXPECT_NEAR(sample[19 * 3 + 1] - sample[1], 19 * step, 1e-2);  // the same for columns
    steps.insert(std::round(step * 20));
  }
  EXPECT_EQ(steps.size(), 21u);  // sides of 20 to 40
  cut_sample(photo, {.size = 20, .random = false, .flip = false}, Rng(3), sample.data());
  EXPECT_EQ(sample[0], 0.5f);   // the whole of the shorter side, two pixels in one
  EXPECT_EQ(sample[1], 10.5f);  // in the middle of the longer one
}

}  // namespace
}  // namespace minidl::apps
