#include <minidl/core/image.h>
#include <support/compare.h>
#include <support/random_tensors.h>
#include <support/threads.h>

#include <limits>

namespace minidl {
namespace {

using test::equals;
using test::normalised_error;
using test::throws_error;

/// Overlap of [a, b) and [c, d).
double overlap(double a, double b, double c, double d) {
  return std::max(0.0, std::min(b, d) - std::max(a, c));
}

/// Weight of source position j for target position i along one axis, straight from the definitions.
double area_weight(int64_t i, int64_t j, int64_t source, int64_t target) {
  const double scale = static_cast<double>(source) / static_cast<double>(target);
  return overlap(i * scale, (i + 1) * scale, j, j + 1) / scale;
}
double cubic(double x) {
  x = std::abs(x);
  if (x <= 1) return 1.5 * x * x * x - 2.5 * x * x + 1;
  if (x <= 2) return -0.5 * x * x * x + 2.5 * x * x - 4 * x + 2;
  return 0;
}
double cubic_weight(int64_t i, int64_t j, int64_t source, int64_t target) {
  const double centre = (i + 0.5) * static_cast<double>(source) / static_cast<double>(target) - 0.5;
  double weight = 0.0;
  for (int64_t k = -4; k < source + 4; ++k) {  // positions beyond the border count for the border
    if (std::clamp<int64_t>(k, 0, source - 1) == j) weight += cubic(centre - static_cast<double>(k));
  }
  return weight;
}

using Weight = double (*)(int64_t, int64_t, int64_t, int64_t);

std::vector<double> reference_resize(const Tensor& image, int64_t height, int64_t width, Weight rows, Weight columns) {
  const int64_t h = image.shape()[1], w = image.shape()[2], c = image.shape()[3];
  std::vector<double> output(static_cast<size_t>(height * width * c));
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      for (int64_t j = 0; j < h; ++j) {
        for (int64_t i = 0; i < w; ++i) {
          const double weight = rows(y, j, h, height) * columns(x, i, w, width);
          for (int64_t k = 0; k < c; ++k) {
            output[static_cast<size_t>((y * width + x) * c + k)] += weight * image.data<float>()[(j * w + i) * c + k];
          }
        }
      }
    }
  }
  return output;
}

constexpr int64_t kSizes[][4] = {{1, 1, 1, 1},   {1, 1, 5, 4}, {7, 9, 1, 1},  {7, 9, 3, 4},
                                 {3, 4, 7, 9},   {8, 8, 4, 4}, {5, 6, 5, 3},  {5, 6, 4, 6},
                                 {2, 13, 13, 2}, {9, 1, 4, 1}, {1, 9, 1, 20}, {3, 3, 100, 2}};

TEST(ResizeImage, MatchesTheDefinitionInDouble) {
  for (const auto& [h, w, height, width] : kSizes) {
    for (const int64_t channels : {1, 3, 4, 7}) {
      SCOPED_TRACE(Shape({h, w, height, width}).str() + " channels " + std::to_string(channels));
      const Tensor image = test::random_uniform({1, h, w, channels}, 5, 0.0f, 255.0f);
      EXPECT_LT(normalised_error(resize_image(image, height, width, ResizeFilter::area),
                                 reference_resize(image, height, width, area_weight, area_weight)),
                1e-6);
      EXPECT_LT(normalised_error(resize_image(image, height, width, ResizeFilter::catmull_rom),
                                 reference_resize(image, height, width, cubic_weight, cubic_weight)),
                1e-6);
      const Weight rows = height < h ? area_weight : cubic_weight, columns = width < w ? area_weight : cubic_weight;
      EXPECT_LT(
          normalised_error(resize_image(image, height, width), reference_resize(image, height, width, rows, columns)),
          1e-6);
    }
  }
}

TEST(ResizeImage, AreaOfWholeBlocksIsExact) {
  const Tensor image = test::random_integers({1, 8, 12, 3}, 3);
  const Tensor halved = resize_image(image, 4, 6, ResizeFilter::area);
  for (int64_t y = 0; y < 4; ++y) {
    for (int64_t x = 0; x < 6; ++x) {
      for (int64_t c = 0; c < 3; ++c) {
        const auto at = [&](int64_t j, int64_t i) {
          return image.data<float>()[((2 * y + j) * 12 + 2 * x + i) * 3 + c];
        };
        EXPECT_EQ(halved.data<float>()[(y * 6 + x) * 3 + c], (at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1)) / 4);
      }
    }
  }
}

TEST(ResizeImage, SameSizeGivesEqualValuesInNewMemory) {
  Tensor image = test::random_uniform({1, 6, 7, 3}, 4, -10.0f, 300.0f);
  image.data<float>()[5] = std::numeric_limits<float>::infinity();
  for (const auto filter : {ResizeFilter::area, ResizeFilter::catmull_rom}) {
    for (const bool linear_light : {false, true}) {
      const Tensor same = resize_image(image, 6, 7, filter, linear_light);
      EXPECT_TRUE(equals(same, image));
      EXPECT_FALSE(same.shares_storage_with(image));
    }
  }
  EXPECT_TRUE(equals(resize_image(image, 6, 7), image));
}

TEST(ResizeImage, ConstantsStayConstant) {
  const Tensor grey = Tensor::full({1, 17, 23, 3}, 200.0f);
  for (const auto filter : {ResizeFilter::area, ResizeFilter::catmull_rom}) {
    for (const bool linear_light : {false, true}) {
      for (const auto& [height, width] : {std::pair<int64_t, int64_t>{5, 7}, {31, 64}, {1, 1}}) {
        const Tensor resized = resize_image(grey, height, width, filter, linear_light);
        for (const float value : resized.span<float>()) ASSERT_NEAR(value, 200.0f, 200.0f * 1e-6f);
      }
    }
  }
}

TEST(ResizeImage, AreaKeepsTheMean) {
  const Tensor image = test::random_uniform({1, 97, 61, 1}, 8, 0.0f, 255.0f);
  const auto mean = [](const Tensor& x) {
    double sum = 0.0;
    for (const float value : x.span<float>()) sum += value;
    return sum / static_cast<double>(x.count());
  };
  for (const auto& [height, width] : {std::pair<int64_t, int64_t>{13, 60}, {96, 2}, {1, 1}, {50, 50}}) {
    EXPECT_NEAR(mean(resize_image(image, height, width, ResizeFilter::area)), mean(image), 1e-4);
  }
}

TEST(ResizeImage, CatmullRomIsNotClampedAndKeepsRamps) {
  Tensor edge = Tensor::zeros({1, 1, 8, 1});
  for (int64_t x = 4; x < 8; ++x) edge.data<float>()[x] = 255.0f;
  const Tensor enlarged = resize_image(edge, 1, 32, ResizeFilter::catmull_rom);
  EXPECT_GT(*std::max_element(enlarged.span<float>().begin(), enlarged.span<float>().end()), 256.0f);
  EXPECT_LT(*std::min_element(enlarged.span<float>().begin(), enlarged.span<float>().end()), -1.0f);

  Tensor ramp = Tensor::empty({1, 1, 10, 1});
  for (int64_t x = 0; x < 10; ++x) ramp.data<float>()[x] = static_cast<float>(x);
  const Tensor resized = resize_image(ramp, 1, 40, ResizeFilter::catmull_rom);
  for (int64_t x = 8; x < 32; ++x)
    EXPECT_NEAR(resized.data<float>()[x], (static_cast<float>(x) + 0.5f) / 4 - 0.5f, 1e-5f);
}

TEST(ResizeImage, LinearLightAveragesLightAndNotCodes) {
  Tensor black_white = Tensor::zeros({1, 1, 2, 1});
  black_white.data<float>()[1] = 255.0f;
  EXPECT_NEAR(resize_image(black_white, 1, 1, ResizeFilter::area, true).item(), 187.516f,
              1e-2f);  // sRGB code of half the light
  EXPECT_EQ(resize_image(black_white, 1, 1, ResizeFilter::area).item(), 127.5f);
  const Tensor dark = Tensor::full({1, 2, 2, 1}, 5.0f);  // below the knee of the curve, where it is a line
  EXPECT_NEAR(resize_image(dark, 1, 1, ResizeFilter::area, true).item(), 5.0f, 1e-5f);
  const Tensor overshoot = resize_image(black_white, 1, 8, ResizeFilter::catmull_rom, true);
  for (const float value : overshoot.span<float>()) EXPECT_TRUE(std::isfinite(value));
  EXPECT_LT(overshoot.data<float>()[1], 0.0f);
}

TEST(ResizeImage, SameBytesForAnyNumberOfThreads) {
  const Tensor image = test::random_uniform({1, 61, 47, 3}, 8, 0.0f, 255.0f);
  EXPECT_TRUE(test::same_for_all_threads([&] { return resize_image(image, 40, 90); }));
  EXPECT_TRUE(test::same_for_all_threads([&] { return resize_image(image, 40, 30, ResizeFilter::area, true); }));
}

TEST(ResizeImage, RefusesWhatIsNoPicture) {
  const Tensor image = Tensor::zeros({1, 2, 2, 3});
  EXPECT_TRUE(throws_error([&] { resize_image(image, 0, 2); }, "height 0 and width 2"));
  EXPECT_TRUE(throws_error([&] { resize_image(image, 2, -1, ResizeFilter::area); }, "width -1"));
  EXPECT_TRUE(throws_error([&] { resize_image(image, 2, int64_t{1} << 40); }, "sizes must be in 1 to"));
  EXPECT_TRUE(throws_error([&] { resize_image(Tensor::zeros({2, 2, 2, 3}), 1, 1); }, "[2,2,2,3]"));
  EXPECT_TRUE(throws_error([&] { resize_image(Tensor::zeros({2, 2, 3}), 1, 1); }, "[2,2,3]"));
  EXPECT_TRUE(throws_error([&] { resize_image(Tensor::zeros({1, 0, 2, 3}), 1, 1); }, "not empty"));
  EXPECT_TRUE(throws_error([&] { resize_image(Tensor::zeros({1, 2, 2, 3}, Dtype::u8), 1, 1); }, "f32"));
  EXPECT_TRUE(throws_error([&] { resize_image(Tensor(), 1, 1); }, "[resize_image]"));
}

TEST(FitLongerSide, RoundsToTheNearest) {
  const auto expect = [](int64_t h, int64_t w, int64_t size, int64_t height, int64_t width) {
    const Extent extent = fit_longer_side(h, w, size);
    EXPECT_EQ(extent.height, height) << h << " x " << w << " to " << size;
    EXPECT_EQ(extent.width, width) << h << " x " << w << " to " << size;
  };
  expect(768, 1024, 512, 384, 512);
  expect(1024, 768, 512, 512, 384);
  expect(100, 100, 7, 7, 7);
  expect(2, 3, 100, 67, 100);  // 66.67
  expect(1, 3, 100, 33, 100);  // 33.33
  expect(1, 4, 10, 3, 10);     // 2.5
  expect(1, 1000, 10, 1, 10);  // 0.01, at least 1
  expect(768, 1024, 0, 768, 1024);
  expect(3, 5, 5, 3, 5);
  expect(int64_t{1} << 30, 1, int64_t{1} << 30, int64_t{1} << 30, 1);
}

TEST(FitLongerSide, RefusesImpossibleSizes) {
  EXPECT_TRUE(throws_error([] { fit_longer_side(0, 5, 10); }, "height 0"));
  EXPECT_TRUE(throws_error([] { fit_longer_side(5, 5, -1); }, "size is -1"));
  EXPECT_TRUE(throws_error([] { fit_longer_side(5, 5, int64_t{1} << 40); }, "it must be in 0 to"));
}

}  // namespace
}  // namespace minidl
