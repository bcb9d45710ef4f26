#include <minidl/core/image.h>
#include <support/compare.h>
#include <support/pictures.h>
#include <support/random_tensors.h>
#include <support/temporary_folder.h>
#include <support/threads.h>

#include <limits>
#include <random>

namespace minidl {
namespace {

namespace fs = std::filesystem;
using test::equals;
using test::read_bytes;
using test::same_bytes;
using test::TemporaryFolder;
using test::throws_error;
using test::write_bytes;

/// Levels 0 to 255, or all 65536 levels as values in [0, 255], from a seed.
Tensor random_levels(const Shape& shape, uint64_t seed, int bit_depth = 8) {
  Tensor x = test::random_integers(shape, seed, 0, bit_depth == 8 ? 255 : 65535);
  if (bit_depth == 16) {
    for (float& value : x.span<float>()) value /= 257.0f;
  }
  return x;
}

struct Kind {
  const char* extension;
  int bit_depth;
  bool alpha, lossless;
};
constexpr Kind kKinds[] = {{"png", 8, false, true},  {"png", 8, true, true},   {"png", 16, false, true},
                           {"png", 16, true, true},  {"bmp", 8, false, true},  {"tga", 8, false, true},
                           {"tga", 8, true, true},   {"jpg", 8, false, false}, {"PNG", 8, false, true},
                           {"jpeg", 8, false, false}};
constexpr std::pair<int64_t, int64_t> kSizes[] = {{1, 1}, {1, 7}, {5, 1}, {3, 5}, {16, 16}, {33, 50}};

Image random_image(const Kind& kind, int64_t height, int64_t width) {
  Image image{.rgb = random_levels({1, height, width, 3}, 1, kind.bit_depth), .alpha = {}, .bit_depth = kind.bit_depth};
  if (kind.alpha) image.alpha = random_levels({1, height, width, 1}, 2, kind.bit_depth);
  return image;
}

/// The bytes of a small picture in the given format.
std::string encoded(const std::string& extension, int64_t height = 6, int64_t width = 5, int bit_depth = 8) {
  const TemporaryFolder folder;
  const fs::path path = folder / ("a." + extension);
  save_image(path, random_levels({1, height, width, 3}, 3, bit_depth), {.bit_depth = bit_depth});
  return read_bytes(path);
}

TEST(ImageFile, RoundTripOfEveryFormat) {
  const TemporaryFolder folder;
  for (const Kind& kind : kKinds) {
    for (const auto& [height, width] : kSizes) {
      SCOPED_TRACE(std::string(kind.extension) + " " + std::to_string(height) + " x " + std::to_string(width));
      const fs::path path = folder / (std::string("a.") + kind.extension);
      const Image image = random_image(kind, height, width);
      save_image_file(path, image, {.bit_depth = kind.bit_depth});
      const Image loaded = load_image_file(path);
      EXPECT_EQ(loaded.bit_depth, kind.bit_depth);
      EXPECT_EQ(loaded.rgb.shape(), image.rgb.shape());
      if (kind.lossless) {
        EXPECT_TRUE(equals(loaded.rgb, image.rgb));
      }
      ASSERT_EQ(static_cast<bool>(loaded.alpha), kind.alpha);
      if (kind.alpha) {
        EXPECT_TRUE(equals(loaded.alpha, image.alpha));
      }
    }
  }
}

TEST(ImageFile, SixteenBitsAreForPng) {
  for (const char* name : {"a.png", "a.PNG"}) EXPECT_EQ(bit_depth_for(name, 16), 16) << name;
  for (const char* name : {"a.jpg", "a.bmp", "a.TGA"}) EXPECT_EQ(bit_depth_for(name, 16), 8) << name;
  EXPECT_EQ(bit_depth_for("a.png", 8), 8);
  EXPECT_TRUE(throws_error([] { return bit_depth_for("a.tif", 16); }, "a.tif"));
  for (const char* name : {"a.png", "a.JPG", "a.jpeg", "a.bmp", "a.tga"}) EXPECT_TRUE(is_image_output(name)) << name;
  for (const char* name : {"a.tif", "a", "png"}) EXPECT_FALSE(is_image_output(name)) << name;
}

TEST(ImageFile, EveryLevelOf16BitsSurvives) {
  const TemporaryFolder folder;
  Tensor rgb = Tensor::empty({1, 256, 256, 3});
  for (int64_t i = 0; i < 65536; ++i) {
    for (int64_t c = 0; c < 3; ++c) rgb.data<float>()[3 * i + c] = static_cast<float>((i + 777 * c) % 65536) / 257.0f;
  }
  save_image(folder / "a.png", rgb, {.bit_depth = 16});
  EXPECT_TRUE(equals(load_image(folder / "a.png"), rgb));
}

TEST(ImageFile, ValuesAreRoundedAndClamped) {
  const TemporaryFolder folder;
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<float> values{10.4f,     10.5f,      10.6f,  -5.0f,       300.0f, kNan,
                                  kInfinity, -kInfinity, 254.6f, 0.49999997f, 0.5f,   -0.0f};
  const std::vector<double> expected{10, 11, 11, 0, 255, 0, 255, 0, 255, 0, 1, 0};
  save_image(folder / "a.png", Tensor::from(values, {2, 2, 3}));
  EXPECT_TRUE(equals(load_image(folder / "a.png"), expected));
  save_image(folder / "b.png", Tensor::from(std::vector<float>{100.6f / 257, 100.4f / 257, 255.1f}, {1, 1, 3}),
             {.bit_depth = 16});
  EXPECT_TRUE(equals(load_image(folder / "b.png"),
                     Tensor::from(std::vector<float>{101.0f / 257, 100.0f / 257, 255.0f}, {1, 1, 1, 3})));
}

TEST(ImageFile, AlphaIsLeftOutWhereTheFormatHasNone) {
  const TemporaryFolder folder;
  const Image image{.rgb = random_levels({1, 4, 6, 3}, 1), .alpha = random_levels({1, 4, 6, 1}, 2)};
  for (const char* name : {"a.bmp", "a.jpg"}) {
    save_image_file(folder / name, image);
    EXPECT_FALSE(load_image_file(folder / name).alpha) << name;
  }
}

TEST(ImageFile, JpegQualityDecidesSizeAndError) {
  const TemporaryFolder folder;
  const Tensor smooth = resize_image(random_levels({1, 4, 4, 3}, 5), 64, 64, ResizeFilter::catmull_rom);
  save_image(folder / "good.jpg", smooth, {.jpeg_quality = 100});
  save_image(folder / "bad.jpg", smooth, {.jpeg_quality = 5});
  EXPECT_GT(fs::file_size(folder / "good.jpg"), 2 * fs::file_size(folder / "bad.jpg"));
  EXPECT_LT(test::normalised_error(load_image(folder / "good.jpg"), smooth), 0.02);
}

TEST(ImageFile, SameBytesEveryTimeForAnyNumberOfThreads) {
  const TemporaryFolder folder;
  const Tensor rgb = random_levels({1, 70, 40, 3}, 9);
  for (const char* extension : {"png", "jpg", "bmp", "tga"}) {
    const fs::path path = folder / (std::string("a.") + extension);
    EXPECT_TRUE(test::same_for_all_threads([&] {
      save_image(path, rgb);
      return load_image(path);
    })) << extension;
    const std::string first = read_bytes(path);
    save_image(path, rgb);
    EXPECT_EQ(read_bytes(path), first) << extension;
  }
}

TEST(LoadImage, GreyBecomesRgb) {
  const TemporaryFolder folder;
  const Image grey = load_image_file(write_bytes(folder / "a.pgm", std::string("P5 2 1 255\n") + "\x0a\xc8"));
  EXPECT_TRUE(equals(grey.rgb, std::vector<double>{10, 10, 10, 200, 200, 200}));
  EXPECT_FALSE(grey.alpha);
  const Image deep = load_image_file(write_bytes(folder / "b.pgm", std::string("P5 1 1 65535\n") + "\x01\x02"));
  EXPECT_EQ(deep.bit_depth, 16);
  EXPECT_EQ(deep.rgb.data<float>()[1], 258.0f / 257.0f);
  std::string tga(18, '\0');  // type 3: grey, 16 bits per pixel with 8 bits of alpha
  tga[2] = 3;
  tga[12] = 1;
  tga[14] = 1;
  tga[16] = 16;
  tga[17] = 0x28;
  const Image with_alpha = load_image_file(write_bytes(folder / "c.tga", tga + "\x30\x40"));
  EXPECT_TRUE(equals(with_alpha.rgb, std::vector<double>{48, 48, 48}));
  ASSERT_TRUE(with_alpha.alpha);
  EXPECT_EQ(with_alpha.alpha.item(), 64.0f);
}

TEST(LoadImage, MaxSideShrinksTheLongerSide) {
  const TemporaryFolder folder;
  const Image image{.rgb = random_levels({1, 30, 60, 3}, 1), .alpha = random_levels({1, 30, 60, 1}, 2)};
  save_image_file(folder / "a.png", image);
  const Image small = load_image_file(folder / "a.png", {.max_side = 20});
  EXPECT_EQ(small.rgb.shape(), Shape({1, 10, 20, 3}));
  EXPECT_EQ(small.alpha.shape(), Shape({1, 10, 20, 1}));
  EXPECT_TRUE(same_bytes(small.rgb, resize_image(image.rgb, 10, 20, ResizeFilter::area)));
  EXPECT_TRUE(equals(load_image(folder / "a.png", {.max_side = 60}), image.rgb));
  EXPECT_TRUE(throws_error([&] { load_image(folder / "a.png", {.max_side = -1}); }, "max_side is -1"));
}

/// Where pixel (y, x) of the picture as it should be seen lies in the stored one of height h and width w, from the
/// standard's table: which visual side the stored row 0 and column 0 are.
std::pair<int64_t, int64_t> stored_position(int orientation, int64_t y, int64_t x, int64_t h, int64_t w) {
  switch (orientation) {
    case 2:
      return {y, w - 1 - x};  // row 0 top, column 0 right
    case 3:
      return {h - 1 - y, w - 1 - x};  // bottom, right
    case 4:
      return {h - 1 - y, x};  // bottom, left
    case 5:
      return {x, y};  // left, top
    case 6:
      return {h - 1 - x, y};  // right, top
    case 7:
      return {h - 1 - x, w - 1 - y};  // right, bottom
    case 8:
      return {x, w - 1 - y};  // left, bottom
    default:
      return {y, x};
  }
}

void expect_turned(const Tensor& stored, const Tensor& turned, int orientation) {
  const int64_t h = stored.shape()[1], w = stored.shape()[2];
  const int64_t height = orientation >= 5 ? w : h, width = orientation >= 5 ? h : w;
  ASSERT_EQ(turned.shape(), Shape({1, height, width, 3}));
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      const auto [row, column] = stored_position(orientation, y, x, h, w);
      for (int64_t c = 0; c < 3; ++c) {
        ASSERT_EQ(turned.data<float>()[(y * width + x) * 3 + c], stored.data<float>()[(row * w + column) * 3 + c])
            << y << " " << x;
      }
    }
  }
}

TEST(LoadImage, ExifOrientationIsApplied) {
  const TemporaryFolder folder;
  for (const std::string extension : {"jpg", "png"}) {
    const std::string bytes = encoded(extension, 9, 14);
    const Tensor stored = load_image(write_bytes(folder / ("a." + extension), bytes));
    for (const bool big_endian : {false, true}) {
      for (int orientation = 1; orientation <= 8; ++orientation) {
        SCOPED_TRACE(extension + " " + std::to_string(orientation));
        const std::string exif = test::exif_with_orientation(orientation, big_endian);
        const std::string with_exif =
            extension == "jpg" ? test::jpeg_with_exif(bytes, exif) : test::png_with_exif(bytes, exif);
        expect_turned(stored, load_image(write_bytes(folder / ("b." + extension), with_exif)), orientation);
      }
    }
  }
}

TEST(LoadImage, NonsenseInExifIsIgnored) {
  const TemporaryFolder folder;
  const std::string bytes = encoded("jpg", 9, 14);
  const Tensor stored = load_image(write_bytes(folder / "a.jpg", bytes));
  const std::string good = test::exif_with_orientation(6, false);
  for (const std::string& exif : {test::exif_with_orientation(0, false), test::exif_with_orientation(9, true),
                                  good.substr(0, 10), good.substr(0, 20), std::string(30, '\xff'), std::string()}) {
    EXPECT_TRUE(equals(load_image(write_bytes(folder / "b.jpg", test::jpeg_with_exif(bytes, exif))), stored));
  }
}

TEST(LoadImage, NamesTheFileAndTheReason) {
  const TemporaryFolder folder;
  const auto loading = [&](const std::string& bytes) {
    return [&folder, bytes] { load_image(write_bytes(folder / "pic", bytes)); };
  };
  EXPECT_TRUE(throws_error([&] { load_image(folder / "missing.png"); }, "missing.png': No such file"));
  EXPECT_TRUE(throws_error([&] { load_image(folder.path()); }, "it is a directory"));
  EXPECT_TRUE(throws_error(loading(""), "pic': the file is empty"));
  EXPECT_TRUE(throws_error(loading("hello, this is a text and no picture"), "not a picture"));
  EXPECT_TRUE(throws_error(loading(std::string(1000, '\0')), "not a picture"));
  EXPECT_TRUE(
      throws_error(loading("#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 1\n\x01\x01\x01\x81"), "not a picture"));
  EXPECT_TRUE(throws_error(loading("\x89PNG\r\n\x1a\n"), "the PNG is truncated or damaged"));
  EXPECT_TRUE(throws_error(loading("BM"), "the BMP is truncated or damaged"));
  EXPECT_TRUE(throws_error(loading("P5 3 3 255\nabcd"), "pic': the file is truncated"));
}

TEST(LoadImage, ChecksTheSizeBeforeItDecodes) {
  const TemporaryFolder folder;
  const fs::path path = write_bytes(folder / "a.png", encoded("png", 10, 20));
  EXPECT_EQ(load_image(path, {.max_pixels = 200}).count(), 600);
  EXPECT_TRUE(throws_error([&] { load_image(path, {.max_pixels = 199}); }, "20 x 10 pixels, at most 199"));
  std::string huge = encoded("png");
  huge.replace(16, 8, std::string("\x00\x00\xff\xff\x00\x00\xff\xff", 8));  // width and height 65535
  EXPECT_TRUE(throws_error([&] { load_image(write_bytes(folder / "b.png", huge)); }, "65535 x 65535"));
  huge.replace(16, 8, std::string("\x7f\xff\xff\xff\x7f\xff\xff\xff", 8));
  EXPECT_TRUE(throws_error([&] { load_image(write_bytes(folder / "b.png", huge)); }, "too large"));
}

TEST(LoadImage, EveryTruncatedFileIsRefused) {
  const TemporaryFolder folder;
  const std::vector<std::pair<std::string, std::string>> files = {
      {"png", encoded("png")},          {"deep.png", encoded("png", 6, 5, 16)},
      {"jpg", encoded("jpg")},          {"bmp", encoded("bmp", 6, 4)},
      {"tga", encoded("tga")},          {"ppm", "P6 3 2 255\n" + std::string(18, 'x')},
      {"gif", test::gif_of_one_pixel()}};
  for (const auto& [name, bytes] : files) {
    EXPECT_NO_THROW(load_image(write_bytes(folder / name, bytes))) << name;
    for (size_t cut = 1; cut <= bytes.size(); cut += 1 + cut / 16) {  // finest at the end, where little is missing
      const size_t length = bytes.size() - cut;
      if (name == "gif" && length + 1 >= bytes.size()) continue;  // the mark after the last frame is not needed
      EXPECT_THROW(load_image(write_bytes(folder / name, bytes.substr(0, length))), Error)
          << name << " cut to " << length;
    }
  }
}

TEST(LoadImage, JpegsThatWouldOverrunTheDecoderAreRefused) {
  const TemporaryFolder folder;
  const std::string good = encoded("jpg");
  const size_t table = good.find("\xff\xc4");  // length 2, then class and slot, then the counts of codes
  ASSERT_NE(table, std::string::npos);
  std::string many_codes = good;
  many_codes.replace(table + 5, 16, std::string(16, '\x10'));
  many_codes.replace(table + 5 + 15, 1, "\xff");
  EXPECT_TRUE(throws_error([&] { load_image(write_bytes(folder / "a.jpg", many_codes)); }, "too many codes"));
  std::string no_tables = good;
  for (size_t at = table; at != std::string::npos; at = no_tables.find("\xff\xc4", at))
    no_tables[at + 1] = '\xfe';  // comments now
  EXPECT_TRUE(throws_error([&] { load_image(write_bytes(folder / "a.jpg", no_tables)); }, "table that is not defined"));
}

TEST(LoadImage, DamagedFilesLoadOrThrow) {
  const TemporaryFolder folder;
  std::mt19937_64 bits(11);
  int refused = 0;
  for (const char* extension : {"png", "jpg", "bmp", "tga"}) {
    const std::string good = encoded(extension);
    for (int round = 0; round < 100; ++round) {
      std::string bytes = good;
      for (uint64_t flips = 1 + bits() % 4; flips > 0; --flips)
        bytes[bits() % bytes.size()] ^= static_cast<char>(1 << bits() % 8);
      try {
        load_image(write_bytes(folder / "a", bytes), {.max_pixels = 1 << 20});
      } catch (const Error&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 50);
}

TEST(SaveImage, RefusesWhatItCannotWriteAndKeepsTheOldFile) {
  const TemporaryFolder folder;
  const fs::path old = write_bytes(folder / "old.png", "old");
  const Tensor rgb = Tensor::zeros({1, 2, 2, 3});
  EXPECT_TRUE(throws_error([&] { save_image(folder / "a.webp", rgb); }, "a.webp': the extension '.webp' is none of"));
  EXPECT_TRUE(throws_error([&] { save_image(folder / "a", rgb); }, "the extension '' is none of"));
  EXPECT_TRUE(throws_error([&] { save_image(folder / "a.jpg", rgb, {.bit_depth = 16}); }, "only PNG"));
  EXPECT_TRUE(throws_error([&] { save_image(folder / "a.png", rgb, {.bit_depth = 12}); }, "8 and 16 are possible"));
  EXPECT_TRUE(throws_error([&] { save_image(folder / "a.jpg", rgb, {.jpeg_quality = 0}); }, "jpeg_quality is 0"));
  EXPECT_TRUE(throws_error([&] { save_image(folder / "a.jpg", rgb, {.jpeg_quality = 101}); }, "jpeg_quality is 101"));
  EXPECT_TRUE(throws_error([&] { save_image(folder / "none/a.png", rgb); }, "none/a.png': No such file"));
  EXPECT_TRUE(throws_error([&] { save_image(old, Tensor::zeros({1, 2, 2, 4})); }, "shape [1,2,2,4]"));
  EXPECT_TRUE(throws_error([&] { save_image(old, Tensor::zeros({2, 2, 2, 3})); }, "shape [2,2,2,3]"));
  EXPECT_TRUE(throws_error([&] { save_image(old, Tensor::zeros({1, 0, 2, 3})); }, "at least one pixel"));
  EXPECT_TRUE(throws_error([&] { save_image(old, Tensor()); }, "the colours have shape"));
  EXPECT_TRUE(throws_error(
      [&] {
        save_image_file(old, {.rgb = rgb, .alpha = Tensor::zeros({1, 2, 3, 1})});
      },
      "alpha has shape"));
  EXPECT_TRUE(throws_error(
      [&] {
        save_image(folder / "a.jpg", Tensor::zeros({1, 1, 65536, 3}));
      },
      "65536 x 1 pixels are too many"));
  EXPECT_TRUE(throws_error([&] { save_image(folder / "a.png", Tensor::zeros({1, 1, 1000001, 3})); }, "a.png"));
  EXPECT_EQ(read_bytes(old), "old");
  EXPECT_EQ(folder.entries(), 1);
}

TEST(CheckImageOutput, SaysWhatSavingWouldSayWithoutWriting) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "sub.png");
  check_image_output(folder / "new.png", 16);
  check_image_output(folder / "new.JPG");
  EXPECT_TRUE(throws_error([&] { check_image_output(folder / "new.gif"); }, "extension '.gif'"));
  EXPECT_TRUE(throws_error([&] { check_image_output(folder / "new.tga", 16); }, "only PNG"));
  EXPECT_TRUE(throws_error([&] { check_image_output(folder / "none/new.png"); }, "No such file"));
  EXPECT_TRUE(throws_error([&] { check_image_output(folder / "sub.png"); }, "it is a directory"));
  EXPECT_EQ(folder.entries(), 1);
}

}  // namespace
}  // namespace minidl
