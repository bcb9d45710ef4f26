#include <minidl/kernels/total_variation.h>
#include <support/accumulation.h>
#include <support/compare.h>
#include <support/device.h>
#include <support/masks.h>
#include <support/random_tensors.h>
#include <support/threads.h>

namespace minidl {
namespace {

using test::random_integers;
using test::random_uniform;
using test::throws_error;

const std::vector<Shape> kShapes = {{1, 1, 1, 1},  {1, 1, 7, 3}, {1, 6, 1, 3}, {2, 2, 2, 1}, {3, 5, 4, 4},
                                    {1, 9, 8, 33}, {0, 3, 3, 3}, {1, 0, 4, 3}, {1, 4, 0, 3}, {1, 40, 601, 3}};

/// A pair of neighbours by flat index.
using Pair = std::pair<int64_t, int64_t>;

std::vector<Pair> pairs_of(const Shape& shape, bool interior) {
  std::vector<Pair> pairs;
  const int64_t height = shape[1], width = shape[2], channels = shape[3];
  for (int64_t n = 0; n < shape[0]; ++n) {
    for (int64_t h = 0; h < height; ++h) {
      for (int64_t w = 0; w < width; ++w) {
        for (int64_t c = 0; c < channels; ++c) {
          const int64_t at = ((n * height + h) * width + w) * channels + c;
          const bool inside = h + 1 < height && w + 1 < width;
          if (interior ? inside : w + 1 < width) pairs.emplace_back(at, at + channels);
          if (interior ? inside : h + 1 < height) pairs.emplace_back(at, at + width * channels);
        }
      }
    }
  }
  return pairs;
}

/// Value and gradient of factor * sum of (x[a] - x[b])^2.
struct Reference {
  Reference(const Tensor& x, bool interior, double factor) : grad(static_cast<size_t>(x.count())) {
    for (const auto& [a, b] : pairs_of(x.shape(), interior)) {
      const double difference = double{x.span<float>()[a]} - double{x.span<float>()[b]};
      value += factor * difference * difference;
      grad[static_cast<size_t>(a)] += 2.0 * factor * difference;
      grad[static_cast<size_t>(b)] -= 2.0 * factor * difference;
    }
  }
  double value = 0.0;
  std::vector<double> grad;
};

TEST(TotalVariation, IsExactOnIntegers) {
  for (const Shape& shape : kShapes) {
    const Tensor x = random_integers(shape, 1);
    const Reference full(x, false, 1.0), interior(x, true, 0.5);
    EXPECT_EQ(ON_DEVICE(total_variation)(x), full.value) << shape.str();
    EXPECT_EQ(ON_DEVICE(total_variation_interior)(x), interior.value) << shape.str();
    Tensor grad = Tensor::full(shape, NAN);
    ON_DEVICE(total_variation_backward)(x, 1.0f, Accumulate{}, grad);
    EXPECT_TRUE(test::equals(grad, full.grad)) << shape.str();
    ON_DEVICE(total_variation_interior_backward)(x, 1.0f, Accumulate{}, grad);
    EXPECT_TRUE(test::equals(grad, interior.grad)) << shape.str();
  }
}

TEST(TotalVariation, WithItsGradientItIsTheSame) {
  for (const Shape& shape : kShapes) {
    const Tensor x = random_integers(shape, 5);
    for (const bool interior : {false, true}) {
      const Reference reference(x, interior, interior ? 0.5 : 1.0);
      Tensor grad = Tensor::full(shape, NAN);
      const Tensor value = ON_DEVICE(total_variation_and_gradient)(x, interior, 0.25, -2.0f, grad);
      EXPECT_EQ(value.item(), static_cast<float>(0.25 * reference.value)) << shape.str();
      std::vector<double> expected = reference.grad;
      for (double& slope : expected) slope *= -2.0;
      EXPECT_TRUE(test::equals(grad, expected)) << shape.str();
    }
  }
}

TEST(TotalVariation, ScalesAccumulatesAndMasks) {
  for (const Shape& shape : kShapes) {
    const Tensor x = random_integers(shape, 2);
    const Reference full(x, false, 0.25);
    Tensor grad = Tensor::full(shape, NAN);
    ON_DEVICE(total_variation_backward)(x, 0.25f, Accumulate{}, grad);
    EXPECT_TRUE(test::equals(grad, full.grad)) << shape.str();
    EXPECT_TRUE(test::accumulates(shape, [&](const Accumulate& how, Tensor& out) {
      ON_DEVICE(total_variation_backward)(x, 0.5f, how, out);
    }));
    EXPECT_TRUE(test::accumulates(shape, [&](const Accumulate& how, Tensor& out) {
      ON_DEVICE(total_variation_interior_backward)(x, 2.0f, how, out);
    }));
  }
}

TEST(TotalVariation, AgreesWithTheDefinitionOnPictures) {
  const Tensor x = random_uniform({2, 61, 67, 3}, 3, 0.0f, 255.0f);
  const Reference full(x, false, 1.0), interior(x, true, 0.5);
  EXPECT_NEAR(ON_DEVICE(total_variation)(x), full.value, 1e-12 * full.value);
  EXPECT_NEAR(ON_DEVICE(total_variation_interior)(x), interior.value, 1e-12 * interior.value);
  Tensor grad = Tensor::full(x.shape(), NAN);
  ON_DEVICE(total_variation_backward)(x, 1.0f, Accumulate{}, grad);
  EXPECT_LT(test::normalised_error(grad, full.grad), 1e-6);
  ON_DEVICE(total_variation_interior_backward)(x, 1.0f, Accumulate{}, grad);
  EXPECT_LT(test::normalised_error(grad, interior.grad), 1e-6);
}

TEST(TotalVariation, BytesDoNotDependOnThreads) {
  const Tensor x = random_uniform({2, 61, 201, 3}, 4);
  EXPECT_TRUE(test::same_for_all_threads([&] {
    Tensor result = Tensor::empty({2}, Dtype::f64);
    result.data<double>()[0] = ON_DEVICE(total_variation)(x);
    result.data<double>()[1] = ON_DEVICE(total_variation_interior)(x);
    return result;
  }));
  EXPECT_TRUE(test::same_for_all_threads([&] {
    Tensor grad = Tensor::empty(x.shape());
    ON_DEVICE(total_variation_backward)(x, 0.3f, Accumulate{}, grad);
    return grad;
  }));
}

TEST(TotalVariation, BadArgumentsAreNamed) {
  const Tensor x = Tensor::zeros({1, 2, 2, 3}), flat = Tensor::zeros({12}),
               bytes = Tensor::zeros({1, 2, 2, 3}, Dtype::u8);
  Tensor grad = Tensor::zeros({1, 2, 2, 3}), wrong = Tensor::zeros({1, 2, 3, 2});
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(total_variation)
        (flat);
      },
      "[total_variation] x has shape [12], it must have 4 dimensions"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(total_variation_interior)
        (bytes);
      },
      "[total_variation] x [1,2,2,3] holds u8"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(total_variation_backward)
        (x, 1.0f, Accumulate{}, wrong);
      },
      "[total_variation] grad"));
  const BitMask wrong_mask = test::positive(flat);
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(total_variation_interior_backward)(x, 1.0f, Accumulate{0.0f, &wrong_mask}, grad);
      },
      "[total_variation] relu_mask"));
}

}  // namespace
}  // namespace minidl
