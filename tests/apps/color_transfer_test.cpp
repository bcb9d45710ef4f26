#include <minidl/apps/color_transfer.h>
#include <minidl/core/error.h>
#include <support/compare.h>
#include <support/random_tensors.h>
#include <support/threads.h>

#include <array>
#include <limits>

namespace minidl {
namespace {

using test::random_uniform;
using test::throws_error;

/// Correlated colours well inside [0, 255], so that nothing is clamped: a + b u + noise per channel.
Tensor colored_noise(int64_t height, int64_t width, uint64_t seed, const std::array<float, 3>& mean,
                     const std::array<float, 3>& along) {
  Tensor picture = random_uniform({1, height, width, 3}, seed, -10.0f, 10.0f);
  const Tensor shared = random_uniform({height * width}, seed + 1);
  float* x = picture.data<float>();
  for (int64_t i = 0; i < picture.count(); ++i) x[i] += mean[i % 3] + along[i % 3] * shared.data<float>()[i / 3];
  return picture;
}
Tensor source_picture() {
  return colored_noise(37, 23, 1, {120, 140, 110}, {20, -15, 10});
}
Tensor target_picture() {
  return colored_noise(19, 41, 5, {150, 110, 100}, {30, 25, -20});
}

std::array<double, 3> mean_of(const Tensor& picture) {
  std::array<double, 3> mean{};
  const double pixels = static_cast<double>(picture.count() / 3);
  for (int64_t i = 0; i < picture.count(); ++i) mean[i % 3] += picture.data<float>()[i] / pixels;
  return mean;
}

double covariance_of(const Tensor& picture, int a, int b) {
  const std::array<double, 3> mean = mean_of(picture);
  const float* x = picture.data<float>();
  double sum = 0.0;
  for (int64_t i = 0; i < picture.count(); i += 3) sum += (x[i + a] - mean[a]) * (x[i + b] - mean[b]);
  return sum / static_cast<double>(picture.count() / 3);
}

std::vector<float> sorted_channel(const Tensor& picture, int channel) {
  std::vector<float> values;
  for (int64_t i = channel; i < picture.count(); i += 3) values.push_back(picture.data<float>()[i]);
  std::sort(values.begin(), values.end());
  return values;
}

double luma_of(const float* rgb) {
  return 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2];
}

constexpr ColorMatch kMatches[] = {ColorMatch::mean, ColorMatch::covariance, ColorMatch::histogram};

TEST(MatchColors, NoneReturnsTheSource) {
  const Tensor source = source_picture();
  EXPECT_TRUE(test::same_bytes(match_colors(source, target_picture(), ColorMatch::none), source));
}

TEST(MatchColors, MeanGivesMeanAndDeviationOfEveryChannel) {
  const Tensor target = target_picture(), result = match_colors(source_picture(), target, ColorMatch::mean);
  EXPECT_EQ(result.shape(), source_picture().shape());
  for (int c = 0; c < 3; ++c) {
    EXPECT_NEAR(mean_of(result)[c], mean_of(target)[c], 1e-4);
    const double expected = covariance_of(target, c, c);
    EXPECT_NEAR(covariance_of(result, c, c), expected, 0.02 * expected);  // eps adds 1 to variances of about 100
  }
}

TEST(MatchColors, CovarianceGivesTheWholeMatrix) {
  const Tensor target = target_picture();
  for (const ColorMatch match : {ColorMatch::covariance, ColorMatch::histogram}) {
    const Tensor result = match_colors(source_picture(), target, match);
    for (int a = 0; a < 3; ++a) {
      EXPECT_NEAR(mean_of(result)[a], mean_of(target)[a], match == ColorMatch::covariance ? 1e-4 : 0.1);
      for (int b = 0; b < 3; ++b) {
        const double scale = std::sqrt(covariance_of(target, a, a) * covariance_of(target, b, b));
        EXPECT_NEAR(covariance_of(result, a, b), covariance_of(target, a, b), 0.03 * scale) << a << " " << b;
      }
    }
  }
}

TEST(MatchColors, CovarianceMapIsSymmetric) {
  // x' - m_t = A (x - m_s): A is read off the images of three pixels that differ by the unit vectors.
  Tensor source = source_picture();
  float* x = source.data<float>();
  for (int pixel = 0; pixel < 4; ++pixel) {
    for (int c = 0; c < 3; ++c) x[3 * pixel + c] = 120.0f + (pixel == c + 1 ? 1.0f : 0.0f);
  }
  const Tensor result = match_colors(source, target_picture(), ColorMatch::covariance);
  const float* y = result.data<float>();
  for (int a = 0; a < 3; ++a) {
    for (int b = 0; b < 3; ++b) EXPECT_NEAR(y[3 * (b + 1) + a] - y[a], y[3 * (a + 1) + b] - y[b], 1e-4);
  }
}

TEST(MatchColors, HistogramOfEveryChannelIsTheTargets) {
  const Tensor target = colored_noise(37, 23, 9, {150, 90, 60}, {60, 40, -20});
  const Tensor result = match_colors(source_picture(), target, ColorMatch::histogram);
  for (int c = 0; c < 3; ++c) {
    const std::vector<float> values = sorted_channel(result, c), expected = sorted_channel(target, c);
    for (size_t i = 0; i < values.size(); ++i)
      EXPECT_NEAR(values[i], expected[i], 0.2) << "channel " << c << " rank " << i;
  }
}

TEST(MatchColors, HistogramKeepsEqualPixelsEqual) {
  Tensor source = source_picture();
  float* x = source.data<float>();
  for (int64_t i = 0; i < source.count() / 2; ++i) x[i] = 100.0f;
  const Tensor result = match_colors(source, target_picture(), ColorMatch::histogram);
  const float* y = result.data<float>();
  for (int64_t i = 3; i < source.count() / 2 / 3 * 3; ++i) ASSERT_EQ(y[i], y[i % 3]);
}

TEST(MatchColors, APictureMatchedWithItselfStays) {
  const Tensor source = source_picture();
  for (const ColorMatch match : kMatches) {
    EXPECT_LT(test::normalised_error(match_colors(source, source, match), source), 1e-6);
  }
}

TEST(MatchColors, FlatSourceBecomesTheTargetsColor) {
  const Tensor source = Tensor::full({1, 5, 7, 3}, 77.0f), target = target_picture();
  for (const ColorMatch match : {ColorMatch::mean, ColorMatch::covariance}) {
    const Tensor result = match_colors(source, target, match);
    for (int64_t i = 0; i < result.count(); ++i) EXPECT_NEAR(result.data<float>()[i], mean_of(target)[i % 3], 1e-4);
  }
  const Tensor result = match_colors(source, target, ColorMatch::histogram);
  for (int c = 0; c < 3; ++c) {
    const std::vector<float> channel = sorted_channel(target, c);
    EXPECT_NEAR(result.data<float>()[c], channel[channel.size() / 2], 0.2);
  }
}

TEST(MatchColors, FlatTargetMakesTheSourceNearlyFlat) {
  const Tensor target = Tensor::full({1, 3, 3, 3}, 200.0f);
  for (const ColorMatch match : kMatches) {
    const Tensor result = match_colors(source_picture(), target, match);
    for (const float value : result.span<float>()) EXPECT_NEAR(value, 200.0f, 5.0f);
  }
}

TEST(MatchColors, GreyPicturesWork) {
  Tensor grey = Tensor::empty({1, 16, 16, 3});
  for (int64_t i = 0; i < grey.count(); ++i) grey.data<float>()[i] = 40.0f + static_cast<float>(i / 3 % 128);
  for (const ColorMatch match : kMatches) {
    const Tensor colored = match_colors(grey, target_picture(), match),
                 back = match_colors(target_picture(), grey, match);
    for (int c = 0; c < 3; ++c) {
      EXPECT_NEAR(mean_of(colored)[c], mean_of(target_picture())[c], 0.5);
      EXPECT_NEAR(mean_of(back)[c], mean_of(grey)[c], 0.5);
    }
  }
  const Tensor back = match_colors(target_picture(), grey, ColorMatch::covariance);
  double chroma = 0.0;
  for (int64_t i = 0; i < back.count(); i += 3) {
    chroma = std::max<double>(chroma, std::abs(back.data<float>()[i] - back.data<float>()[i + 1]));
  }
  EXPECT_LT(chroma, 12.0);  // the target has none; eps leaves about a level's deviation
}

TEST(MatchColors, OnePixel) {
  const Tensor pixel = Tensor::from(std::array{10.0f, 20.0f, 30.0f}, {1, 1, 1, 3});
  const Tensor other = Tensor::from(std::array{200.0f, 100.0f, 50.0f}, {1, 1, 1, 3});
  for (const ColorMatch match : kMatches) {
    EXPECT_LT(test::normalised_error(match_colors(pixel, other, match), other), 1e-6);
    EXPECT_EQ(match_colors(pixel, target_picture(), match).shape(), pixel.shape());
    EXPECT_EQ(match_colors(target_picture(), pixel, match).shape(), target_picture().shape());
  }
}

TEST(MatchColors, ResultsStayInRange) {
  const Tensor source = random_uniform({1, 9, 9, 3}, 3, 100.0f, 110.0f),
               target = random_uniform({1, 9, 9, 3}, 4, 0.0f, 255.0f);
  for (const ColorMatch match : kMatches) {
    const Tensor matched = match_colors(source, target, match);
    for (const float value : matched.span<float>()) EXPECT_TRUE(value >= 0.0f && value <= 255.0f);
  }
}

TEST(MatchColors, SameBytesForAllThreads) {
  EXPECT_TRUE(test::same_for_all_threads(
      [] { return match_colors(source_picture(), target_picture(), ColorMatch::histogram); }));
}

TEST(MatchColors, RefusesOtherShapesAndValues) {
  const Tensor good = source_picture();
  for (const Shape& shape : {Shape{1, 4, 4, 4}, Shape{2, 4, 4, 3}, Shape{4, 4, 3}, Shape{1, 0, 4, 3}}) {
    EXPECT_TRUE(throws_error([&] { match_colors(Tensor::zeros(shape), good, ColorMatch::mean); },
                             "source must be [1, h, w, 3]"));
    EXPECT_TRUE(throws_error([&] { match_colors(good, Tensor::zeros(shape), ColorMatch::mean); },
                             "target must be [1, h, w, 3]"));
  }
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    EXPECT_TRUE(throws_error(
        [&] {
          match_colors(Tensor::full({1, 2, 2, 3}, bad), good, ColorMatch::histogram);
        },
        "source has values"));
    EXPECT_TRUE(throws_error(
        [&] {
          match_colors(good, Tensor::full({1, 2, 2, 3}, bad), ColorMatch::histogram);
        },
        "target has values"));
  }
}

TEST(KeepLuminance, LumaOfTheOneAndChromaOfTheOther) {
  const Tensor stylised = source_picture(), content = colored_noise(37, 23, 7, {120, 120, 120}, {30, -10, 5});
  const Tensor result = keep_luminance(stylised, content);
  const float *x = stylised.data<float>(), *p = content.data<float>(), *y = result.data<float>();
  for (int64_t i = 0; i < result.count(); i += 3) {
    EXPECT_NEAR(luma_of(y + i), luma_of(x + i), 1e-4);
    EXPECT_NEAR(y[i] - y[i + 1], p[i] - p[i + 1], 1e-4);
    EXPECT_NEAR(y[i + 2] - y[i + 1], p[i + 2] - p[i + 1], 1e-4);
  }
}

TEST(KeepLuminance, OutsideTheRangeTheLumaWins) {
  const Tensor stylised = random_uniform({1, 20, 20, 3}, 11, 0.0f, 255.0f),
               content = random_uniform({1, 20, 20, 3}, 12, 0.0f, 255.0f);
  const Tensor result = keep_luminance(stylised, content);
  for (int64_t i = 0; i < result.count(); i += 3) {
    EXPECT_NEAR(luma_of(result.data<float>() + i), luma_of(stylised.data<float>() + i), 1e-3);
    for (int c = 0; c < 3; ++c)
      EXPECT_TRUE(result.data<float>()[i + c] >= -1e-4f && result.data<float>()[i + c] <= 255.0001f);
  }
}

TEST(KeepLuminance, GreyBlackWhiteAndOnePixel) {
  const Tensor grey = Tensor::full({1, 1, 1, 3}, 90.0f);
  const Tensor red = Tensor::from(std::array{255.0f, 0.0f, 0.0f}, {1, 1, 1, 3});
  for (const float level : {0.0f, 128.0f, 255.0f}) {
    EXPECT_TRUE(test::equals(keep_luminance(Tensor::full({1, 1, 1, 3}, level), grey), {level, level, level}));
    EXPECT_NEAR(luma_of(keep_luminance(Tensor::full({1, 1, 1, 3}, level), red).data<float>()), level, 1e-3);
  }
}

TEST(KeepLuminance, RefusesOtherSizes) {
  EXPECT_TRUE(throws_error(
      [] {
        keep_luminance(Tensor::zeros({1, 2, 3, 3}), Tensor::zeros({1, 3, 2, 3}));
      },
      "stylised is [1,2,3,3], content is [1,3,2,3]"));
  EXPECT_TRUE(throws_error(
      [] {
        keep_luminance(Tensor::zeros({1, 2, 3, 1}), Tensor::zeros({1, 2, 3, 1}));
      },
      "must be [1, h, w, 3]"));
}

}  // namespace
}  // namespace minidl
