#include <minidl/kernels/smooth.h>
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

/// Means over the windows, from the definition.
std::vector<double> means_of(const std::vector<double>& x, const Shape& shape, int64_t width) {
  const int64_t h = shape[1], w = shape[2], c = shape[3], reach = width / 2;
  std::vector<double> means(x.size());
  for (int64_t i = 0; i < shape.count(); ++i) {
    const int64_t column = i / c % w, row = i / (c * w) % h, picture = i / (c * w * h);
    double& mean = means[static_cast<size_t>(i)];
    for (int64_t y = std::max<int64_t>(0, row - reach); y <= std::min(h - 1, row + reach); ++y) {
      for (int64_t z = std::max<int64_t>(0, column - reach); z <= std::min(w - 1, column + reach); ++z) {
        mean += x[static_cast<size_t>(((picture * h + y) * w + z) * c + i % c)];
      }
    }
    mean /= static_cast<double>(width) * static_cast<double>(width);
  }
  return means;
}

std::vector<double> expected(const Tensor& x, double strength, int64_t width, double factor) {
  const std::vector<double> values = test::to_doubles(x);
  std::vector<double> result = means_of(means_of(values, x.shape(), width), x.shape(), width);
  for (size_t i = 0; i < result.size(); ++i) result[i] = factor * (values[i] + strength * result[i]);
  return result;
}

Tensor smoothed(const Tensor& x, float strength, int64_t width, float factor = 1.0f) {
  Tensor output = Tensor::full(x.shape(), NAN);
  ON_DEVICE(smooth)(x, strength, width, factor, output);
  return output;
}

TEST(Smooth, FollowsTheDefinition) {
  for (const Shape& shape : kShapes) {
    for (const int64_t width : kWidths) {
      const Tensor x = random_uniform(shape, 1);
      for (const float strength : {0.0f, 0.5f, 1000.0f}) {
        EXPECT_LT(test::normalised_error(smoothed(x, strength, width, -3.0f), expected(x, strength, width, -3.0)), 5e-7)
            << shape.str() << " width " << width << " strength " << strength;
      }
    }
  }
}

TEST(Smooth, ProductIsThatOfTheResult) {
  for (const Shape& shape : kShapes) {
    for (const int64_t width : kWidths) {
      const Tensor x = random_uniform(shape, 2);
      Tensor product = Tensor::empty({1}, Dtype::f64);
      *product.data<double>() = NAN;
      ON_DEVICE(smooth_product)(x, 30.0f, width, product);
      const double expected = test::inner_product(x, smoothed(x, 30.0f, width));
      EXPECT_NEAR(*product.data<double>(), expected, 1e-12 * expected) << shape.str() << " width " << width;
    }
  }
}

TEST(Smooth, IsExactOnIntegersWhereMeansAre) {
  // Every mean of multiples of width^4 is an integer, so is the mean of these.
  for (const auto& [shape, width] :
       {std::pair{Shape{1, 1, 1, 5}, int64_t{3}}, {Shape{2, 2, 2, 3}, 3}, {Shape{1, 4, 3, 2}, 7}}) {
    Tensor x = random_integers(shape, 1);
    for (float& value : x.span<float>()) value *= static_cast<float>(width * width * width * width);
    EXPECT_TRUE(test::equals(smoothed(x, 2.0f, width, 0.5f), expected(x, 2.0, width, 0.5))) << shape.str();
  }
}

TEST(Smooth, IsAccurateWhereLargeValuesLeaveTheWindow) {
  const Shape shape{1, 150, 170, 3};
  Tensor x = random_uniform(shape, 2);
  for (int64_t i = 0; i < 40; ++i) x.data<float>()[i * i * 11] *= 1e6f;
  Tensor absolute = x.clone();
  for (float& value : absolute.span<float>()) value = std::abs(value);
  const std::vector<double> values = expected(x, 30.0, 13, 1.0), sizes = expected(absolute, 30.0, 13, 1.0);
  const Tensor output = smoothed(x, 30.0f, 13);
  for (int64_t i = 0; i < shape.count(); ++i) {
    ASSERT_NEAR(output.span<float>()[i], values[static_cast<size_t>(i)], 2e-6 * sizes[static_cast<size_t>(i)]) << i;
  }
}

TEST(Smooth, IsSymmetric) {
  for (const Shape& shape : kShapes) {
    const Tensor x = random_uniform(shape, 3), y = random_uniform(shape, 4);
    EXPECT_NEAR(test::inner_product(x, smoothed(y, 5, 5)), test::inner_product(smoothed(x, 5, 5), y), 1e-5)
        << shape.str();
  }
}

TEST(Smooth, AWindowBeyondAllNumbersLeavesThePicture) {
  const Tensor x = random_integers({1, 3, 4, 1}, 7);
  EXPECT_TRUE(test::equals(smoothed(x, 30, (int64_t{1} << 60) + 1), x));
}

TEST(Smooth, BytesDoNotDependOnThreads) {
  const Tensor x = random_uniform({2, 140, 61, 3}, 5);
  for (const int64_t width : {3, 41}) EXPECT_TRUE(test::same_for_all_threads([&] { return smoothed(x, 30, width); }));
}

TEST(Smooth, BadArgumentsAreNamed) {
  Tensor x = Tensor::zeros({1, 3, 3, 2}), y = Tensor::zeros({1, 3, 3, 1}), flat = Tensor::zeros({9, 2});
  const auto error = [](Tensor& input, int64_t width, Tensor& output, const std::string& text) {
    return throws_error([&] { ON_DEVICE(smooth)(input, 1.0f, width, 1.0f, output); }, text);
  };
  EXPECT_TRUE(error(flat, 3, flat, "[smooth] x has shape [9,2]"));
  EXPECT_TRUE(error(x, 3, y, "[smooth] output has shape [1,3,3,1]"));
  EXPECT_TRUE(error(x, 3, x, "[smooth] output is x"));
  Tensor output = Tensor::zeros(x.shape());
  for (const int64_t width : {-3, 0, 4})
    EXPECT_TRUE(error(x, width, output, "[smooth] width is " + std::to_string(width)));
}

}  // namespace
}  // namespace minidl
