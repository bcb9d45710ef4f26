#include <minidl/kernels/box_mean.h>
#include <support/compare.h>
#include <support/device.h>
#include <support/random_tensors.h>
#include <support/threads.h>

namespace minidl {
namespace {

using test::random_integers;
using test::random_uniform;
using test::throws_error;

/// Pictures smaller than the window, and with more rows than share their sums.
const std::vector<Shape> kShapes = {{1, 1, 1, 1}, {1, 1, 9, 3},   {2, 13, 1, 4},  {1, 7, 8, 33},
                                    {3, 5, 6, 2}, {1, 70, 11, 3}, {1, 33, 40, 1}, {0, 4, 4, 3}};
const std::vector<int64_t> kWidths = {1, 3, 5, 15, 101};

/// Sums of the windows, from the definition.
std::vector<double> window_sums(const Tensor& input, int64_t width) {
  const Shape& shape = input.shape();
  const int64_t h = shape[1], w = shape[2], c = shape[3], reach = width / 2;
  std::vector<double> sums(static_cast<size_t>(shape.count()));
  for (int64_t i = 0; i < shape.count(); ++i) {
    const int64_t column = i / c % w, row = i / (c * w) % h, picture = i / (c * w * h);
    for (int64_t y = std::max<int64_t>(0, row - reach); y <= std::min(h - 1, row + reach); ++y) {
      for (int64_t x = std::max<int64_t>(0, column - reach); x <= std::min(w - 1, column + reach); ++x) {
        sums[static_cast<size_t>(i)] += input.span<float>()[((picture * h + y) * w + x) * c + i % c];
      }
    }
  }
  return sums;
}

Tensor mean_of(const Tensor& input, int64_t width) {
  Tensor output = Tensor::full(input.shape(), NAN);
  ON_DEVICE(box_mean)(input, width, output);
  return output;
}

TEST(BoxMean, IsExactOnIntegers) {
  for (const Shape& shape : kShapes) {
    for (const int64_t width : kWidths) {
      const Tensor input = random_integers(shape, 1);
      std::vector<double> means = window_sums(input, width);
      const double scale = 1.0 / static_cast<double>(width * width);
      for (double& mean : means) mean = static_cast<double>(static_cast<float>(scale * mean));
      EXPECT_TRUE(test::equals(mean_of(input, width), means)) << shape.str() << " width " << width;
    }
  }
}

TEST(BoxMean, BadArgumentsOfTheSumAreNamed) {
  const Tensor input = Tensor::zeros({1, 4, 4, 3}), wrong = Tensor::zeros({1, 4, 4, 2});
  Tensor x = input.clone(), output = input.clone();
  EXPECT_TRUE(throws_error([&] { add_box_mean(x, 1.0f, input, 3, x); }, "output is x"));
  EXPECT_TRUE(throws_error([&] { add_box_mean(wrong, 1.0f, input, 3, output); }, "x has shape"));
  EXPECT_TRUE(throws_error([&] { add_box_mean(x, 1.0f, input, 4, output); }, "width is 4"));
}

TEST(BoxMean, MayBeAddedToAnother) {
  for (const Shape& shape : kShapes) {
    const Tensor input = random_integers(shape, 6), x = random_integers(shape, 7), mean = mean_of(input, 3);
    Tensor output = Tensor::full(shape, NAN);
    ON_DEVICE(add_box_mean)(x, 0.5f, input, 3, output);
    std::vector<double> sums;
    for (int64_t i = 0; i < shape.count(); ++i) {
      sums.push_back(x.span<float>()[i] + 0.5f * mean.span<float>()[i]);
    }
    EXPECT_LT(test::normalised_error(output, sums), 1e-7) << shape.str();
  }
}

TEST(BoxMean, IsAccurateWhereLargeValuesLeaveTheWindow) {
  const Shape shape{1, 150, 170, 3};
  Tensor input = random_uniform(shape, 2);
  for (int64_t i = 0; i < 40; ++i) input.data<float>()[i * i * 11] *= 1e6f;
  std::vector<double> means = window_sums(input, 13);
  for (double& mean : means) mean /= 169.0;
  const Tensor output = mean_of(input, 13);
  for (int64_t i = 0; i < shape.count(); ++i) {
    ASSERT_NEAR(output.span<float>()[i], means[static_cast<size_t>(i)],
                1e-9 + 1e-7 * std::abs(means[static_cast<size_t>(i)]))
        << i;
  }
}

TEST(BoxMean, IsSymmetric) {
  for (const Shape& shape : kShapes) {
    const Tensor x = random_uniform(shape, 3), y = random_uniform(shape, 4);
    EXPECT_NEAR(test::inner_product(x, mean_of(y, 5)), test::inner_product(mean_of(x, 5), y), 1e-6) << shape.str();
  }
}

TEST(BoxMean, AWindowBeyondAllNumbersOnlyScales) {
  const Tensor output = mean_of(Tensor::full({1, 3, 4, 1}, 1.0f), (int64_t{1} << 60) + 1);
  for (const float value : output.span<float>()) EXPECT_FLOAT_EQ(value, 12 * 0x1p-120f);
}

TEST(BoxMean, BytesDoNotDependOnThreads) {
  const Tensor input = random_uniform({2, 140, 61, 3}, 5);
  for (const int64_t width : {3, 41}) EXPECT_TRUE(test::same_for_all_threads([&] { return mean_of(input, width); }));
}

TEST(BoxMean, BadArgumentsAreNamed) {
  Tensor x = Tensor::zeros({1, 3, 3, 2}), y = Tensor::zeros({1, 3, 3, 1}), flat = Tensor::zeros({9, 2});
  EXPECT_TRUE(throws_error([&] { ON_DEVICE(box_mean)(flat, 3, flat); }, "[box_mean] input has shape [9,2]"));
  EXPECT_TRUE(throws_error([&] { ON_DEVICE(box_mean)(x, 3, y); }, "[box_mean] output has shape [1,3,3,1]"));
  EXPECT_TRUE(throws_error([&] { ON_DEVICE(box_mean)(x, 3, x); }, "[box_mean] output is the input"));
  for (const int64_t width : {-3, 0, 4}) {
    Tensor output = Tensor::zeros(x.shape());
    EXPECT_TRUE(throws_error(
        [&] {
          ON_DEVICE(box_mean)
          (x, width, output);
        },
        "[box_mean] width is " + std::to_string(width)));
  }
}

}  // namespace
}  // namespace minidl
