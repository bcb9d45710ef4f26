#include <minidl/kernels/log_softmax.h>
#include <support/accumulation.h>
#include <support/compare.h>
#include <support/device.h>
#include <support/masks.h>
#include <support/random_tensors.h>
#include <support/threads.h>

namespace minidl {
namespace {

using test::normalised_error;
using test::random_integers;
using test::random_uniform;
using test::throws_error;

const std::vector<Shape> kShapes = {{1}, {1000}, {3, 1}, {3, 33}, {2, 2, 3, 4}, {0, 5}, {4, 0}, {40, 1000}};

std::vector<double> reference(const std::vector<double>& x, int64_t length) {
  std::vector<double> y;
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t row = i / static_cast<size_t>(length) * static_cast<size_t>(length);
    double sum = 0.0;
    for (size_t k = row; k < row + static_cast<size_t>(length); ++k) sum += std::exp(x[k] - x[i]);
    y.push_back(-std::log(sum));
  }
  return y;
}

int64_t last(const Shape& shape) {
  return shape[shape.rank() - 1];
}

TEST(LogSoftmax, AgreesWithTheDefinition) {
  for (const Shape& shape : kShapes) {
    const Tensor x = random_uniform(shape, 1, -20.0f, 20.0f);
    Tensor y = Tensor::full(shape, NAN);
    ON_DEVICE(log_softmax_forward)(x, y);
    EXPECT_LT(normalised_error(y, reference(test::to_doubles(x), last(shape))), 1e-7) << shape.str();
  }
}

TEST(LogSoftmax, EqualScoresAreEquallyLikely) {
  Tensor y = Tensor::full({2, 4}, NAN);
  for (const float score : {0.0f, 3e38f, -3e38f}) {
    ON_DEVICE(log_softmax_forward)(Tensor::full({2, 4}, score), y);
    for (const float value : y.span<float>()) EXPECT_EQ(value, static_cast<float>(-std::log(4.0)));
  }
}

// Only a row's largest score keeps its sum from overflowing.
TEST(LogSoftmax, FindsTheLargestScoreWhereverItIs) {
  constexpr int64_t kPlaces[] = {0, 1, 255, 256, 257, 511, 512, 513, 769, 770, 999};
  Tensor x = Tensor::zeros({std::ssize(kPlaces), 1000}), y = Tensor::full(x.shape(), NAN);
  for (int64_t row = 0; row < std::ssize(kPlaces); ++row) x.data<float>()[row * 1000 + kPlaces[row]] = 1000.0f;
  ON_DEVICE(log_softmax_forward)(x, y);
  for (int64_t i = 0; i < x.count(); ++i)
    ASSERT_EQ(y.data<float>()[i], i % 1000 == kPlaces[i / 1000] ? 0.0f : -1000.0f) << i;
}

TEST(LogSoftmax, ExtremeScores) {
  Tensor y = Tensor::full({4}, NAN);
  ON_DEVICE(log_softmax_forward)(Tensor::from(std::vector<float>{1e30f, 0.0f, -INFINITY, -1e30f}, {4}), y);
  EXPECT_TRUE(test::equals(y, {0.0, -double{1e30f}, -INFINITY, -2.0 * double{1e30f}}));
  ON_DEVICE(log_softmax_forward)(Tensor::from(std::vector<float>{0.0f, NAN, 1.0f, 2.0f}, {4}), y);
  for (const float value : y.span<float>()) EXPECT_TRUE(std::isnan(value));
}

TEST(LogSoftmax, BackwardAgreesWithFiniteDifferences) {
  for (const Shape& shape : {Shape{5}, Shape{3, 7}, Shape{2, 1, 2, 4}}) {
    const Tensor x = random_uniform(shape, 2, -3.0f, 3.0f), grad_output = random_uniform(shape, 3);
    Tensor y = Tensor::empty(shape), grad_input = Tensor::full(shape, NAN);
    ON_DEVICE(log_softmax_forward)(x, y);
    ON_DEVICE(log_softmax_backward)(y, grad_output, Accumulate{}, grad_input);
    const auto loss_at = [&](size_t i, double step) {
      std::vector<double> moved = test::to_doubles(x);
      moved[i] += step;
      const std::vector<double> values = reference(moved, last(shape));
      double sum = 0.0;
      for (size_t j = 0; j < values.size(); ++j) sum += values[j] * grad_output.span<float>()[j];
      return sum;
    };
    std::vector<double> differences;
    for (size_t i = 0; i < static_cast<size_t>(shape.count()); ++i)
      differences.push_back((loss_at(i, 1e-5) - loss_at(i, -1e-5)) / 2e-5);
    EXPECT_LT(normalised_error(grad_input, differences), 1e-6) << shape.str();
  }
}

TEST(LogSoftmax, BackwardAgreesWithTheDefinitionOnLongRows) {
  const Tensor x = random_uniform({3, 700}, 2, -3.0f, 3.0f), grad_output = random_uniform({3, 700}, 3, -1.0f, 3.0f);
  Tensor y = Tensor::empty(x.shape()), grad_input = Tensor::full(x.shape(), NAN);
  ON_DEVICE(log_softmax_forward)(x, y);
  ON_DEVICE(log_softmax_backward)(y, grad_output, Accumulate{}, grad_input);
  std::vector<double> expected;
  for (size_t i = 0; i < 3 * 700; ++i) {
    double sum = 0.0;
    for (size_t k = i / 700 * 700; k < i / 700 * 700 + 700; ++k) sum += grad_output.span<float>()[k];
    expected.push_back(grad_output.span<float>()[i] - std::exp(double{y.span<float>()[i]}) * sum);
  }
  EXPECT_LT(normalised_error(grad_input, expected), 1e-6);
}

TEST(LogSoftmax, BackwardAccumulatesAndMasks) {
  for (const Shape& shape : kShapes) {
    Tensor y = Tensor::empty(shape);
    ON_DEVICE(log_softmax_forward)(random_uniform(shape, 4), y);
    const Tensor grad_output = random_integers(shape, 5);
    EXPECT_TRUE(test::accumulates(shape, [&](const Accumulate& how, Tensor& grad) {
      ON_DEVICE(log_softmax_backward)(y, grad_output, how, grad);
    }));
  }
}

TEST(LogSoftmax, BytesDoNotDependOnThreads) {
  const Tensor x = random_uniform({70, 1000}, 6);
  const BitMask mask = test::positive(x);
  EXPECT_TRUE(test::same_for_all_threads([&] {
    Tensor y = Tensor::empty(x.shape()), grad = Tensor::full(x.shape(), 1.0f);
    ON_DEVICE(log_softmax_forward)(x, y);
    ON_DEVICE(log_softmax_backward)(y, x, Accumulate{1.0f, &mask}, grad);
    return grad;
  }));
}

TEST(LogSoftmax, BadArgumentsAreNamed) {
  const Tensor x = Tensor::zeros({2, 3}), scalar = Tensor::zeros({}), undefined;
  Tensor y = Tensor::zeros({2, 3}), wrong = Tensor::zeros({3, 2});
  EXPECT_TRUE(throws_error([&] { ON_DEVICE(log_softmax_forward)(scalar, y); }, "[log_softmax] input is a scalar"));
  EXPECT_TRUE(throws_error([&] { ON_DEVICE(log_softmax_forward)(undefined, y); }, "[log_softmax] input is undefined"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(log_softmax_forward)
        (x, wrong);
      },
      "[log_softmax] output has shape [3,2], it must be [2,3]"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(log_softmax_backward)
        (x, wrong, Accumulate{}, y);
      },
      "[log_softmax] grad_output"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(log_softmax_backward)
        (x, x, Accumulate{}, wrong);
      },
      "[log_softmax] grad_input"));
  const BitMask wrong_mask = test::positive(wrong);
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(log_softmax_backward)(x, x, Accumulate{0.0f, &wrong_mask}, y);
      },
      "[log_softmax] relu_mask"));
}

}  // namespace
}  // namespace minidl
